"""Structures from DICOM SEG and RTSTRUCT on the grid of the volume that they were drawn on."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from radfed.errors import DataError
from radfed.imaging.objects.rtstruct import read_rtstruct
from radfed.imaging.objects.seg_read import read_seg
from radfed.imaging.objects.sources import Sources, check_whole, foreign, read_sources
from radfed.imaging.objects.structure import References, Structure

if TYPE_CHECKING:
    from radfed.imaging.dicom.scanned import ScannedVolume

__all__ = ["LABEL_CLASSES", "References", "Structure", "read_structures", "references"]

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
LABEL_CLASSES = frozenset({SegmentationStorage, _LABEL_MAP_STORAGE, RTStructureSetStorage})
"""SOP classes of the objects that are read as labels."""


def references(path: Path) -> References:
    """Read which images a SEG or RTSTRUCT was drawn on.

    Raises:
        DataError: ``unreadable``: it is neither, or breaks off.
    """
    with foreign():
        dataset = _open(path, pixels=False)
        return _references(dataset)


def read_structures(path: Path, sources: "ScannedVolume") -> tuple[Structure, ...]:
    """Read the structures of a SEG or RTSTRUCT, in the order of their numbers, on the volume's grid.

    The object must refer to an instance or the series of the volume, or at least state its frame of reference. A
    volume that was resampled names no sources; then the caller answers for the reference. Geometry is checked in any
    case, in patient coordinates.

    Raises:
        DataError: ``label_reference`` (drawn on other images), ``affine_mismatch`` (lies on no voxels of the volume),
            ``bad_contour``, ``missing_geometry``, ``undecodable`` or ``unreadable``.
    """
    behind = read_sources(sources)
    with foreign():
        dataset = _open(path, pixels=True)
        _check_reference(_references(dataset), behind)
        if dataset.SOPClassUID == RTStructureSetStorage:
            return read_rtstruct(dataset, sources.volume, behind)
        return read_seg(dataset, sources.volume, behind)


def _open(path: Path, *, pixels: bool) -> Dataset:
    dataset: FileDataset = dcmread(path, stop_before_pixels=not pixels, force=True)
    check_whole(dataset)
    if dataset.get("SOPClassUID") not in LABEL_CLASSES:
        raise DataError("unreadable", "structures are read from SEG and RTSTRUCT, got another kind of object")
    return dataset


def _references(dataset: Dataset) -> References:
    items = list(_items(dataset))
    stated = [str(item.get("FrameOfReferenceUID") or "") for item in (dataset, *items)]
    return References(
        frozenset(str(item.SeriesInstanceUID) for item in items if item.get("SeriesInstanceUID")),
        frozenset(str(item.ReferencedSOPInstanceUID) for item in items if item.get("ReferencedSOPInstanceUID")),
        next((uid for uid in stated if uid), ""),
    )


def _items(dataset: Dataset) -> Iterator[Dataset]:
    """Every item of every sequence, at any depth."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)


def _check_reference(stated: References, behind: Sources) -> None:
    """Refuse an object that was drawn on other images."""
    if not behind.instances or stated.instances & behind.instances or stated.series & behind.series:
        return
    # A copy or a sibling series in the same coordinates is as good: where structures lie is checked anyway.
    if stated.frame_of_reference in behind.frames_of_reference:
        return
    raise DataError(
        "label_reference",
        f"it refers to {len(stated.instances)} images of {len(stated.series)} series, none of which is in this volume, "
        "nor is its frame of reference; add the series that it was drawn on",
    )
