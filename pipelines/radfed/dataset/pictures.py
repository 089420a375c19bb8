"""Where the images of a table's rows lie: a folder of PNG, NIfTI or DICOM files, or an npz file."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from radfed.dataset.accept import Origin
from radfed.dataset.header_traits import header_traits
from radfed.dataset.layout import Scanner
from radfed.dataset.masks import read_mask
from radfed.dataset.residue import check_residue
from radfed.errors import DataError
from radfed.imaging.deid.heads import is_head
from radfed.imaging.deid.identity import patient_key
from radfed.imaging.deid.pixels import check_pixel_risk
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import read_header
from radfed.imaging.dicom.index import Series, make_index
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.radiograph import radiograph_facts, read_radiograph
from radfed.imaging.dicom.read import read_series
from radfed.imaging.nifti import read_image
from radfed.imaging.picture import PNG_SUFFIX, is_png, read_picture
from radfed.imaging.volume import Volume

NIFTI = (".nii", ".nii.gz")
_IMAGES = (*NIFTI, PNG_SUFFIX, ".dcm")


@dataclass(frozen=True)
class Scan:
    """One image as it was read.

    Attributes:
        volume: ``(C, H, W, D)``; a plane has the depth 1.
        origin: what headers say.
        depth: how its pixels are stored, such as ``8 bit``; empty where that says nothing about its values.
        patient: PatientID of DICOM; empty where headers do not say. It never leaves the site.
    """

    volume: Volume
    origin: Origin = field(default_factory=Origin)
    depth: str = ""
    patient: str = field(default="", repr=False)


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Attributes:
        planes: whether the task takes planes; else volumes.
        options: what reading DICOM may do to voxels.
        risks: what counts as a risk in DICOM.
    """

    planes: bool
    options: ReadOptions = field(default_factory=ReadOptions)
    risks: DeidSettings = field(default_factory=DeidSettings)


class Pictures(Protocol):
    """Where images are found by what a table's row says."""

    def read(self, name: str) -> Scan:
        """The image of that name.

        Raises:
            DataError: ``no_image`` if there is none, or why it cannot be read.
        """

    def mask(self, name: str) -> Volume:
        """The label map of that name, whole numbers ``(1, H, W, D)``.

        Raises:
            DataError: ``no_label`` if there is none, or why it cannot be read.
        """

    def unnamed(self, names: Collection[str]) -> int:
        """How many images none of these names means."""


class FolderPictures:
    """Files by their path in a folder, such as ``png/17.png``."""

    def __init__(self, root: Path, reading: Reading) -> None:
        self._root, self._reading = root, reading

    def read(self, name: str) -> Scan:
        """The image of that path; see ``Pictures``."""
        path = self._path(name, "no_image")
        if path.name.lower().endswith(NIFTI):
            return Scan(read_picture(path) if self._reading.planes else read_image(path))
        if is_png(path):
            volume = read_picture(path)
            return Scan(volume, depth=f"{8 * volume.array.dtype.itemsize} bit")
        found = make_index([read_header(path)]).series
        if len(found) != 1:
            raise DataError("unreadable", "the file is no PNG, NIfTI or DICOM image; export it again")
        return read_dicom(found[0], self._reading)

    def mask(self, name: str) -> Volume:
        """The label map of that path; see ``Pictures``."""
        return read_mask(self._path(name, "no_label"))

    def unnamed(self, names: Collection[str]) -> int:
        """Images in the folders that the names point to, but named by none of them."""
        known = {self._root / name for name in names}
        folders = {path.parent for path in known if path.parent.is_relative_to(self._root)}
        there = (path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.name[:1] != ".")
        return sum(path.name.lower().endswith(_IMAGES) and path not in known for path in there)

    def _path(self, name: str, reason: str) -> Path:
        path = self._root / name
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise DataError(reason, "the row names a file outside the source folder; put all files into it")
        if not path.is_file():
            raise DataError(reason, "the file that the row names is not there; add it, or leave the row out")
        return path


class DicomPictures:
    """DICOM series of a folder, found by an attribute of their headers.

    Attributes:
        attribute: PatientID, AccessionNumber, StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID.
    """

    def __init__(self, files: Sequence[Path], attribute: str, reading: Reading) -> None:
        self.attribute = attribute
        self._files, self._reading = files, reading

    def read(self, name: str) -> Scan:
        """The only series with this value; see ``Pictures``."""
        found = self._series.get(name, [])
        if not found:
            raise DataError("no_image", f"no DICOM image has the row's {self.attribute}; add it, or leave the row out")
        if len(found) > 1:
            raise DataError(
                "ambiguous_series",
                f"{len(found)} series have the row's {self.attribute}; name the image by SeriesInstanceUID, or by "
                "SOPInstanceUID",
            )
        return read_dicom(found[0], self._reading)

    def mask(self, name: str) -> Volume:
        """There is none: which label belongs to a series, ingest without a table finds out."""
        raise DataError("no_label", "a label must be named by its file; ingest the DICOM folder without a table")

    def unnamed(self, names: Collection[str]) -> int:
        """Series that no row means."""
        return sum(len(series) for value, series in self._series.items() if value not in names)

    @cached_property
    def _series(self) -> dict[str, list[Series]]:
        found: dict[str, list[Series]] = defaultdict(list)
        for one in make_index(read_header(path) for path in self._files).series:
            for value in self._values(one):
                found[value].append(one)
        return found

    def _values(self, one: Series) -> set[str]:
        match self.attribute:
            case "PatientID":
                return {one.patient}
            case "StudyInstanceUID":
                return {one.study}
            case "SeriesInstanceUID":
                return {one.uid}
            case "SOPInstanceUID":
                return {instance.sop_instance for instance in one.instances}
            case _:
                return {radiograph_facts(one.first.path).accession}


def read_dicom(series: Series, reading: Reading) -> Scan:
    """A series as an image: of one file as the plane that a reader sees, anything else as a volume.

    Raises:
        DataError: ``burned_in_text``, ``residual_identifier``, or why it cannot be read.
    """
    check_pixel_risk(series.instances, reading.risks)
    first = series.first
    scanner = Scanner(manufacturer=first.manufacturer, model=first.model, field_strength=first.field_strength)
    if reading.planes and len(series.slices) == 1:
        volume, facts = read_radiograph(first.path)
        steps = facts.steps
    else:
        scanned = read_series(series, reading.options)
        volume, steps = scanned.volume, scanned.steps
    said = header_traits(first.path, reading.risks)
    origin = Origin(first.modality, scanner, steps, False if is_head(first) else None, **said)
    check_residue(origin, (), [series])
    return Scan(volume, origin, patient=patient_key(series.patient, series.study or series.id))


def most_common_depth(depths: Sequence[str]) -> str:
    """The depth in which most images are stored; of equals the first in alphabetical order."""
    counts = Counter(depth for depth in depths if depth)
    return min(counts, key=lambda depth: (-counts[depth], depth), default="")
