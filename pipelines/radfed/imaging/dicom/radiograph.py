"""One DICOM image as a plane with the grey values that a reader sees: a radiograph (CR, DX), or a single slice."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from radfed.errors import DataError
from radfed.imaging.dicom.decode import stored_frames
from radfed.imaging.dicom.grey import GREY_KEYWORDS, shown
from radfed.imaging.dicom.grouping import PROJECTIONS, Slice, is_mosaic
from radfed.imaging.dicom.hanging import hang
from radfed.imaging.dicom.header import PYDICOM_ERRORS, Broken, Instance, read_header
from radfed.imaging.dicom.index import is_image
from radfed.imaging.dicom.pixels import check_pixels
from radfed.imaging.plane import NOMINAL_SPACING, plane
from radfed.imaging.unwarned import unwarned
from radfed.imaging.volume import Volume

_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_PROJECTED = {"CR", "DX", "RG", "MG", "IO", "PX", "XA", "RF"}
"""Modalities of projections, whatever the SOP class: archives wrap old radiographs in secondary captures."""

_FACTS = ("AccessionNumber", "DetectorType", "ViewPosition", "ImageLaterality", "Laterality")
_SPACINGS = ("NominalScannedPixelSpacing", "PixelAspectRatio")


@dataclass(frozen=True)
class RadiographFacts:
    """What the header of one image says. Patient, accession and UIDs must not leave the site.

    Attributes:
        instance: the header as every DICOM reader here has it: patient, study, SOPInstanceUID, modality,
            manufacturer, model, what tells of text burned in.
        accession: AccessionNumber.
        detector: DetectorType, such as ``SCINTILLATOR``.
        view: ViewPosition, such as ``PA``.
        laterality: ImageLaterality, else Laterality: which of paired body parts; the picture is not turned by it.
        steps: what was done to the grey values and their place; () until they were read.
    """

    instance: Instance = field(repr=False)
    accession: str = field(repr=False)
    detector: str
    view: str
    laterality: str
    steps: tuple[str, ...] = ()


def read_radiograph(path: Path) -> tuple[Volume, RadiographFacts]:
    """Read one image as a plane ``(1, columns, rows, 1)`` with what its header says.

    A projection gets its Modality LUT or rescale, its VOI LUT or window, and hangs as a reader wants it, see
    ``hanging``. A slice (CT, MR, PET) keeps the units of its modality (HU), its place in the picture, and no window. In
    both, more is brighter. The spacing is PixelSpacing, else ImagerPixelSpacing (at the detector), else that of a
    digitised film, else nominal.

    Raises:
        DataError: ``unreadable``, ``unsupported_pixels`` (colour, several frames, an image for processing, no image),
            ``mosaic``, ``missing_rescale``, ``missing_geometry`` or ``undecodable``.
    """
    instance = _instance(path)
    _check_kind(instance)
    check_pixels([Slice(instance, 0)])
    projected = instance.sop_class in PROJECTIONS or instance.modality in _PROJECTED
    stored = next(iter(stored_frames(instance, [0])))[1]
    try:
        with unwarned():  # odd values; what matters is checked here
            header = _header(path)
            grey = shown(stored, header, instance.transfer_syntax, interest=projected)
            spacing, steps = _spacing(instance, header)
            facts = _facts(instance, header)
    except PYDICOM_ERRORS as error:
        raise DataError("undecodable", f"the grey values cannot be made ({type(error).__name__})") from error
    pixels, turned, swapped = hang(grey.values, instance.orientation_code) if projected else (grey.values, None, False)
    steps = (*grey.steps, *steps, *((turned,) if turned else ()))
    volume = plane(pixels, (spacing[1], spacing[0]) if swapped else spacing)
    return volume, replace(facts, steps=steps)


def radiograph_facts(path: Path) -> RadiographFacts:
    """What the header says, without the pixels.

    Raises:
        DataError: ``unreadable``, or ``unsupported_pixels`` for what is no image.
    """
    instance = _instance(path)
    try:
        with unwarned():
            return _facts(instance, _header(path))
    except PYDICOM_ERRORS as error:
        raise DataError("unreadable", f"the DICOM header cannot be read ({type(error).__name__})") from error


def _instance(path: Path) -> Instance:
    match read_header(path):
        case Instance() as instance:
            if not is_image(instance):
                raise DataError("unsupported_pixels", "a DICOM object that is no image of a patient")
            return instance
        case Broken() as broken:
            raise DataError(broken.reason, broken.message)
        case None:
            raise DataError("unreadable", "neither DICOM nor NIfTI nor PNG; export it as one of these")


def _check_kind(instance: Instance) -> None:
    if instance.frames != 1:
        raise DataError("unsupported_pixels", f"{instance.frames} frames, where one picture is wanted")
    if is_mosaic(Slice(instance, 0)):
        raise DataError("mosaic", "the slices are tiles of one image; give them as a volume")
    if instance.sop_class == _FOR_PROCESSING:
        raise DataError(
            "unsupported_pixels",
            "a radiograph for processing: its grey values are the detector's, not those that a reader sees; "
            "give the one for presentation",
        )


def _header(path: Path) -> Dataset:
    keywords = [*GREY_KEYWORDS, *_FACTS, *_SPACINGS]
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords, force=True)


def _facts(instance: Instance, header: Dataset) -> RadiographFacts:
    accession, detector, view, image_side, side = (str(header.get(keyword) or "").strip() for keyword in _FACTS)
    return RadiographFacts(instance, accession, detector, view, image_side or side)


def _spacing(instance: Instance, header: Dataset) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Distance between columns, and between rows (mm), and what had to be taken for granted."""
    film = header.get("NominalScannedPixelSpacing")
    stated = instance.pixel_spacing or instance.imager_spacing or (tuple(map(float, film)) if film else None)
    if stated is not None:
        if len(stated) != 2 or not all(0 < length < math.inf for length in stated):
            raise DataError("missing_geometry", f"the pixel spacing must be two lengths above 0 mm, got {stated}")
        return (stated[1], stated[0]), ()
    high, wide = (float(value) for value in header.get("PixelAspectRatio") or (1, 1))
    if not (0 < high < math.inf and 0 < wide < math.inf):
        raise DataError("missing_geometry", f"the pixels' proportions must be above 0, got {high:g} and {wide:g}")
    return (NOMINAL_SPACING * wide / high, NOMINAL_SPACING), (f"no pixel spacing: {NOMINAL_SPACING} mm taken",)
