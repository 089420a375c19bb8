"""DICOM SEG to structures: binary, fractional and label maps, placed by their plane positions in the patient.

PS3.3 A.51 and C.8.20. A frame that is not there is empty.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import iter_pixels

from radfed.errors import DataError
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.objects.codes import read_code
from radfed.imaging.objects.grid import FRAME_TOLERANCE_MM, place, to_lps
from radfed.imaging.objects.sources import Sources
from radfed.imaging.objects.structure import Structure, crop_to_content
from radfed.imaging.volume import Volume

Piece = tuple[tuple[int, int, int], NDArray[np.bool_]]
"""A part of a structure: its first voxel in the volume and its voxels ``(H, W, D)``."""

MAX_FRAME_PIXELS = 2**26


def read_seg(dataset: Dataset, volume: Volume, sources: Sources) -> tuple[Structure, ...]:
    """Read every segment, by its number; a fractional one is in where its value is at least half of the maximum.

    Raises:
        DataError: ``affine_mismatch`` (a frame lies on no voxels of the volume, or not where the image lies that it
            refers to), ``missing_geometry``, ``undecodable`` or ``unreadable``.
    """
    fractional = dataset.get("SegmentationType") == "FRACTIONAL"
    segments = {int(segment.SegmentNumber): segment for segment in dataset.SegmentSequence}
    pieces: dict[int, list[Piece]] = {number: [] for number in segments}
    groups = _frame_groups(dataset)
    for index, pixels in enumerate(_frames(dataset, len(groups))):
        for number, inside in _split(dataset, groups[index], pixels, segments):
            if inside.any():
                pieces[number].append(_locate(groups[index], inside, volume, sources))
    steps = ("fractional segments cut at half of their maximum",) if fractional else ()
    return tuple(_assemble(segments[number], pieces[number], volume.shape, steps) for number in sorted(segments))


def _frame_groups(dataset: Dataset) -> list[Dataset]:
    """Each frame's functional groups, completed by the shared ones."""
    shared = dataset.SharedFunctionalGroupsSequence[0] if dataset.get("SharedFunctionalGroupsSequence") else Dataset()
    groups = []
    for own in dataset.PerFrameFunctionalGroupsSequence:
        group = Dataset()
        group.update(shared)
        group.update(own)
        groups.append(group)
    return groups


def _frames(dataset: Dataset, count: int) -> Iterator[NDArray[np.integer]]:
    """The stored pixels ``(rows, columns)`` of each frame.

    Raises:
        DataError: ``undecodable``.
    """
    frames, size = int(dataset.NumberOfFrames), int(dataset.Rows) * int(dataset.Columns)
    if frames != count or not 0 < size <= MAX_FRAME_PIXELS:
        raise DataError(
            "undecodable", f"it promises {frames} frames of {size} pixels and describes {count}; export it again"
        )
    try:
        if dataset.BitsAllocated == 1 and not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
            yield from _packed_frames(dataset.PixelData, frames, (int(dataset.Rows), int(dataset.Columns)))
        else:
            yield from iter_pixels(dataset, raw=True)
    except PYDICOM_ERRORS as error:
        raise DataError(
            "undecodable", f"the pixels of its segments cannot be decoded ({type(error).__name__}); export it again"
        ) from error


def _packed_frames(data: bytes, frames: int, shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Frames of one bit a pixel, which follow each other without padding (PS3.5 8.1.1).

    pydicom 3.0 reads a byte too few where a frame does not begin at a whole byte.
    """
    size = shape[0] * shape[1]
    packed = np.frombuffer(data, dtype=np.uint8)
    for index in range(frames):
        start, stop = index * size, (index + 1) * size
        if stop > 8 * len(packed):
            raise ValueError("fewer pixels than promised")
        bits = np.unpackbits(packed[start // 8 : (stop + 7) // 8], bitorder="little")
        yield bits[start % 8 : start % 8 + size].reshape(shape)


def _split(
    dataset: Dataset, group: Dataset, pixels: NDArray[np.integer], segments: dict[int, Dataset]
) -> list[tuple[int, NDArray[np.bool_]]]:
    """The segments that a frame shows, each with its pixels."""
    if dataset.get("SegmentationType") == "LABELMAP":
        background = int(dataset.get("PixelPaddingValue", 0))
        found = [(int(value), pixels == value) for value in np.unique(pixels) if int(value) not in (0, background)]
    else:
        named = group.get("SegmentIdentificationSequence")
        number = int(named[0].ReferencedSegmentNumber) if named else min(segments)
        if not named and len(segments) > 1:
            raise DataError("unreadable", "a frame does not say to which segment it belongs; export it again")
        half = int(dataset.MaximumFractionalValue) / 2 if dataset.get("SegmentationType") == "FRACTIONAL" else 0.5
        found = [(number, pixels >= half)]
    unknown = [number for number, _ in found if number not in segments]
    if unknown:
        raise DataError("unreadable", f"segment {unknown[0]} has pixels, but is not described; export it again")
    return found


def _locate(group: Dataset, inside: NDArray[np.bool_], volume: Volume, sources: Sources) -> Piece:
    """Place a frame's pixels ``(rows, columns)`` in the volume."""
    grid = _frame_affine(group)
    rows, columns = inside.shape
    placement = place(grid, (columns, rows, 1), to_lps(volume.affine), FRAME_TOLERANCE_MM)
    if placement is None:
        raise DataError(
            "affine_mismatch",
            "a frame does not lie on the voxels of the volume "
            f"(allowed {FRAME_TOLERANCE_MM:g} mm): it was drawn on another grid, or the volume was resampled",
        )
    corner, voxels = placement.box(*crop_to_content(inside.T[:, :, np.newaxis]))
    if any(low < 0 or low + side > limit for low, side, limit in zip(corner, voxels.shape, volume.shape, strict=True)):
        raise DataError("affine_mismatch", "a segment reaches beyond the volume; is a part of the series missing?")
    stated = _stated_slice(group, sources)
    if stated is not None and placement.axes[2] == 2 and stated != corner[2]:
        raise DataError(
            "affine_mismatch",
            f"a frame refers to the image of slice {stated}, but lies on slice {corner[2]}; export it again",
        )
    return corner, voxels


def _frame_affine(group: Dataset) -> NDArray[np.float64]:
    """Affine ``(4, 4)`` of a frame's voxels (column, row, 0) to LPS+ (mm), PS3.3 C.7.6.2.1.1."""
    positions = group.get("PlanePositionSequence")
    orientations = group.get("PlaneOrientationSequence")
    measures = group.get("PixelMeasuresSequence")
    if not positions or not orientations or not measures:
        raise DataError("missing_geometry", "a frame does not say where it lies in the patient; export it again")
    along_row, along_column = np.array(orientations[0].ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    between_rows, between_columns = (float(step) for step in measures[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = np.cross(along_row, along_column)
    affine[:3, 3] = np.array(positions[0].ImagePositionPatient, dtype=np.float64)
    return affine


def _stated_slice(group: Dataset, sources: Sources) -> int | None:
    """The slice whose image a frame names as its source, if it names exactly one of the volume's."""
    slices = {
        sources.slices.get((str(image.ReferencedSOPInstanceUID), int(frame) - 1))
        for derivation in group.get("DerivationImageSequence") or ()
        for image in derivation.get("SourceImageSequence") or ()
        for frame in _numbers(image.get("ReferencedFrameNumber", 1))
    }
    return slices.pop() if len(slices) == 1 else None


def _numbers(value: object) -> list[int]:
    """One or several frame numbers, as pydicom gives them."""
    return [int(number) for number in value] if hasattr(value, "__iter__") else [int(str(value))]


def _assemble(segment: Dataset, pieces: list[Piece], shape: tuple[int, int, int], steps: tuple[str, ...]) -> Structure:
    """Join the parts of a segment in the box that holds them all."""
    types = segment.get("SegmentedPropertyTypeCodeSequence")
    code = read_code(types[0]) if types else None
    name = str(segment.get("SegmentLabel") or (code.meaning if code else ""))
    number = int(segment.SegmentNumber)
    if not pieces:
        return Structure(name, code, number, shape, (0, 0, 0), np.zeros((0, 0, 0), dtype=np.bool_), steps)
    low = np.min([corner for corner, _ in pieces], axis=0)
    high = np.max([np.add(corner, voxels.shape) for corner, voxels in pieces], axis=0)
    crop = np.zeros(high - low, dtype=np.bool_)
    for corner, voxels in pieces:
        at = tuple(slice(start, start + side) for start, side in zip(corner - low, voxels.shape, strict=True))
        crop[at] |= voxels
    return Structure(name, code, number, shape, (int(low[0]), int(low[1]), int(low[2])), crop, steps)
