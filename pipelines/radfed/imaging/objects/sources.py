"""The images that a volume was read from: which they are, and what an object about them takes over from them."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset

from radfed.errors import DataError
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.unwarned import unwarned

if TYPE_CHECKING:
    from radfed.imaging.dicom.scanned import ScannedVolume

UNDEFINED = 0xFFFFFFFF
_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Identity:
    """Which instance a file holds, and whether it is of many frames, which a reference then names."""

    sop_class: str
    sop_instance: str
    series: str
    frame_of_reference: str
    multi_frame: bool


@dataclass(frozen=True)
class Sources:
    """The instances behind a volume, and which slice each of their frames became."""

    instances: frozenset[str]
    series: frozenset[str]
    frames_of_reference: frozenset[str]
    slices: dict[tuple[str, int], int]
    """Index along the volume's last axis by SOPInstanceUID and frame, counted from 0."""


@contextmanager
def foreign() -> Iterator[None]:
    """Read a file that others wrote: its oddities do not warn, and what breaks in it is a ``DataError``."""
    with unwarned(heard=True) as caught:
        try:
            yield
        except PYDICOM_ERRORS as error:
            raise DataError(
                "unreadable",
                f"the object breaks off or contradicts the standard ({type(error).__name__}); export it again",
            ) from error
    # pydicom only warns where a nested sequence breaks off, and gives the items that it found.
    if any("end of file" in str(warning.message).casefold() for warning in caught):
        raise DataError("unreadable", "the object is cut short; export it again")


def check_whole(dataset: FileDataset) -> None:
    """Refuse a dataset whose last element is shorter than it states: pydicom takes it as it is.

    Raises:
        DataError: ``unreadable``.
    """
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset itself would decode every value
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.value is not None and len(raw.value) < raw.length != UNDEFINED:
            raise DataError("unreadable", "the object is cut short; export it again")


def source_files(scanned: "ScannedVolume") -> list[Path]:
    """The files of a volume, each once, in the order of its slices."""
    return list(dict.fromkeys(source[0] for channel in scanned.sources for source in channel if source))


def read_identity(path: Path) -> Identity:
    """Read which instance a file holds; what an anonymiser emptied is taken from the file meta, or stood in for."""
    with foreign():
        dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=[*_UIDS, "NumberOfFrames"])
        complete_uids(dataset)
        sop_class, sop_instance, series, frame_of_reference = (str(dataset.get(tag) or "") for tag in _UIDS)
        return Identity(sop_class, sop_instance, series, frame_of_reference, "NumberOfFrames" in dataset)


def complete_uids(dataset: FileDataset) -> None:
    """Fill empty UIDs in place.

    Class and instance come from the file meta. Study and series follow from the frame of reference, so that every
    object about the same images gets the same ones.
    """
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, dataset.file_meta.get(f"MediaStorage{keyword}", ""))
    frame_of_reference = dataset.get("FrameOfReferenceUID")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not dataset.get(keyword) and frame_of_reference:
            digest = hashlib.sha256(f"{keyword} {frame_of_reference}".encode()).hexdigest()
            setattr(dataset, keyword, f"2.25.{int(digest[:32], 16)}")


def read_sources(scanned: "ScannedVolume") -> Sources:
    """Read which instances a volume came from; all is empty for a volume that was resampled."""
    by_file = {path: read_identity(path) for path in source_files(scanned)}
    identities = by_file.values()
    return Sources(
        frozenset(identity.sop_instance for identity in identities) - {""},
        frozenset(identity.series for identity in identities) - {""},
        frozenset(identity.frame_of_reference for identity in identities) - {""},
        {
            (by_file[source[0]].sop_instance, source[1]): index
            for channel in scanned.sources
            for index, source in enumerate(channel)
            if source
        },
    )


def read_header(path: Path) -> FileDataset:
    """Read a whole header, without pixels."""
    with foreign():
        return dcmread(path, stop_before_pixels=True, force=True)


def first_file(scanned: "ScannedVolume", images: Sequence[Path]) -> Path:
    """A file that knows patient, study and series: of the volume's own, else of ``images``.

    Raises:
        DataError: ``label_reference``: there is neither.
    """
    files = [*source_files(scanned), *images]
    if not files:
        raise DataError(
            "label_reference",
            "the volume names no source image, so patient and study of the result are unknown; "
            "give the files of its series",
        )
    return files[0]
