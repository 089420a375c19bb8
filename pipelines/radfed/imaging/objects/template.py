"""What SEG and SR take over from the images: patient, study, equipment, and the references to each slice."""

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset

from radfed.errors import DataError
from radfed.imaging.objects.grid import to_lps
from radfed.imaging.objects.sources import Identity, complete_uids, foreign, read_header
from radfed.imaging.volume import Volume

if TYPE_CHECKING:
    from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence

_PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
"""They must be there, if only empty (PS3.3 C.7.1.1 and C.7.2.1); not every archive sends them all."""

_FORMS = {"Date": r"^(\d{8})?$", "Time": r"^(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?$", "Sex": r"^[MFO]?$"}
"""What values must look like, by the end of the keyword (PS3.5 6.2)."""

_OF_THE_PIXELS = ("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def read_template(path: Path) -> Dataset:
    """Read the header of an image, with every patient and study attribute that an object about it must have.

    A value that is no date, time or sex is left out: highdicom takes none.

    Raises:
        DataError: ``missing_geometry`` (no frame of reference) or ``unreadable`` (no study, no kind of object).
    """
    template = read_header(path)
    with foreign():
        complete_uids(template)
        for keyword in _PATIENT_AND_STUDY:
            pattern = next((form for end, form in _FORMS.items() if keyword.endswith(end)), "")
            if keyword not in template or not re.match(pattern, str(template[keyword].value or "")):
                setattr(template, keyword, "")
        if not template.get("FrameOfReferenceUID"):
            raise DataError(
                "missing_geometry", "the source images state no frame of reference, so results have no place in them"
            )
        if not template.get("SOPClassUID"):
            raise DataError("unreadable", "a source image does not say what kind of object it is; export it again")
    return template


def as_single_frame(template: Dataset, volume: Volume) -> Dataset:
    """A header as of one classic slice of the volume, from that of any image.

    highdicom takes one multi-frame instance, and only with shared orientation and spacing; scanners write several,
    with groups for each frame. Geometry is ours in any case, proven by the reader.
    """
    from pydicom.uid import CTImageStorage, MRImageStorage

    single = Dataset()
    single.update({tag: element for tag, element in template.items() if not tag.is_private})
    for keyword in _OF_THE_PIXELS:
        if keyword in single:
            delattr(single, keyword)
    row, column, _, spacing = directions(volume)
    single.SOPClassUID = MRImageStorage if template.get("Modality") == "MR" else CTImageStorage
    single.Rows, single.Columns = volume.shape[1], volume.shape[0]
    single.ImageOrientationPatient = [decimal(value) for value in (*row, *column)]
    single.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    single.SliceThickness = decimal(spacing[2])
    single.SpacingBetweenSlices = decimal(spacing[2])
    single.ImagePositionPatient = [decimal(value) for value in position(volume, 0)]
    return single


def directions(
    volume: Volume,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[float, float, float]]:
    """Unit vectors along H, W and D in LPS+, and the spacing along each (mm)."""
    matrix = to_lps(volume.affine)[:3, :3]
    unit = matrix / np.linalg.norm(matrix, axis=0)
    return unit[:, 0], unit[:, 1], unit[:, 2], volume.spacing


def position(volume: Volume, index: int) -> NDArray[np.float64]:
    """Where the first voxel of slice ``index`` lies, LPS+ (mm)."""
    found: NDArray[np.float64] = (to_lps(volume.affine) @ np.array([0.0, 0.0, index, 1.0]))[:3]
    return found


def plane_sequences(
    volume: Volume, slices: Sequence[int]
) -> "tuple[PixelMeasuresSequence, PlaneOrientationSequence, list[PlanePositionSequence]]":
    """Spacing, orientation and positions of slices, as highdicom takes them."""
    from highdicom import CoordinateSystemNames, PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence

    row, column, _, spacing = directions(volume)
    patient = CoordinateSystemNames.PATIENT
    measures = PixelMeasuresSequence(
        pixel_spacing=[decimal(spacing[1]), decimal(spacing[0])],
        slice_thickness=decimal(spacing[2]),
        spacing_between_slices=decimal(spacing[2]),
    )
    orientation = PlaneOrientationSequence(patient, [decimal(value) for value in (*row, *column)])
    positions = [
        PlanePositionSequence(patient, [decimal(value) for value in position(volume, index)]) for index in slices
    ]
    return measures, orientation, positions


def decimal(value: float) -> float:
    """A length or cosine without the noise of the last bits, so that 0.1 is written as 0.1."""
    return round(float(value), 9) + 0.0


def reference(identity: Identity) -> Dataset:
    """An item that refers to an instance."""
    item = Dataset()
    item.ReferencedSOPClassUID = identity.sop_class
    item.ReferencedSOPInstanceUID = identity.sop_instance
    return item


def save(dataset: FileDataset, path: Path) -> None:
    """Write an object beside its place and rename it: the file is whole or absent."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        dataset.save_as(beside, enforce_file_format=True)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
