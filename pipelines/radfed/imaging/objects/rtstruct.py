"""RTSTRUCT to structures: each region's closed contours, filled slice by slice.

PS3.3 C.8.8.5 and C.8.8.6. Points and open lines enclose nothing: a region that has no closed contour is left out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radfed.errors import DataError
from radfed.imaging.objects.codes import read_code
from radfed.imaging.objects.grid import FRAME_TOLERANCE_MM, to_lps
from radfed.imaging.objects.rasterise import rasterise
from radfed.imaging.objects.sources import Sources
from radfed.imaging.objects.structure import Structure, crop_to_content
from radfed.imaging.volume import Volume
from radfed.task import Code

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OPEN = ("OPEN_PLANAR", "OPEN_NONPLANAR")


@dataclass(frozen=True)
class Contour:
    """A closed contour in a slice's plane: points ``(N, 2)`` as voxel indices, and the plane's index along D."""

    points: NDArray[np.float64]
    level: float


def read_rtstruct(dataset: Dataset, volume: Volume, sources: Sources) -> tuple[Structure, ...]:
    """Read every region that has closed contours, by its number.

    A contour fills the slice nearest to its plane. If contours of several planes fall to one slice, the nearest
    plane counts.

    Raises:
        DataError: ``bad_contour`` (no points, not parallel to the slices, more than half a slice outside the
            volume, open and closed lines mixed) or ``label_reference`` (drawn on an image that is not here).
    """
    to_index = np.asarray(np.linalg.inv(to_lps(volume.affine)), dtype=np.float64)
    codes = _codes(dataset)
    drawn = {int(region.ReferencedROINumber): region for region in dataset.ROIContourSequence}
    structures = []
    for region in sorted(dataset.StructureSetROISequence, key=lambda item: int(item.ROINumber)):
        number = int(region.ROINumber)
        items = drawn[number].get("ContourSequence") if number in drawn else None
        closed = _closed(items or ())
        if closed:
            contours = [_contour(item, to_index, volume, sources) for item in closed]
            corner, crop = _fill([contour for contour in contours if contour is not None], volume)
            name = str(region.get("ROIName") or "")
            structures.append(Structure(name, codes.get(number), number, volume.shape, corner, crop))
    return tuple(structures)


def _codes(dataset: Dataset) -> dict[int, Code]:
    """Coded terms of regions by their number, where an observation gives one."""
    found = {}
    for observation in dataset.get("RTROIObservationsSequence") or ():
        terms = observation.get("RTROIIdentificationCodeSequence")
        code = read_code(terms[0]) if terms else None
        if code is not None:
            found[int(observation.ReferencedROINumber)] = code
    return found


def _closed(items: "tuple[Dataset, ...] | list[Dataset]") -> list[Dataset]:
    """A region's closed contours; open lines beside them leave in doubt what is inside."""
    kinds = [str(item.get("ContourGeometricType") or "") for item in items]
    closed = [item for item, kind in zip(items, kinds, strict=True) if kind in _CLOSED]
    if closed and any(kind in _OPEN for kind in kinds):
        raise DataError(
            "bad_contour", "a region mixes closed contours with open lines, so its inside is in doubt; close them"
        )
    return closed


def _contour(item: Dataset, to_index: NDArray[np.float64], volume: Volume, sources: Sources) -> Contour | None:
    """One closed contour in voxel indices; None if it has fewer than 3 points and so no inside."""
    values = np.array([float(value) for value in item.get("ContourData") or ()])
    if len(values) == 0 or len(values) % 3 or not np.isfinite(values).all():
        raise DataError("bad_contour", f"a contour holds {len(values)} numbers that make no points in space")
    points = values.reshape(-1, 3)
    if len(points) < 3:
        return None
    index = points @ to_index[:3, :3].T + to_index[:3, 3]
    level = float(np.median(index[:, 2]))
    spread = float(np.abs(index[:, 2] - level).max()) * volume.spacing[2]
    if spread > FRAME_TOLERANCE_MM:
        raise DataError(
            "bad_contour",
            f"a contour leaves its slice by {spread:.3g} mm (allowed {FRAME_TOLERANCE_MM:g} mm): it was drawn in "
            "another plane than that of the slices",
        )
    if not -0.5 <= level <= volume.shape[2] - 0.5:
        _refuse_outside(item, level, volume, sources)
    return Contour(index[:, :2], level)


def _refuse_outside(item: Dataset, level: float, volume: Volume, sources: Sources) -> None:
    """Say why a contour lies on no slice: its image is not here, or its place is wrong."""
    named = {str(image.ReferencedSOPInstanceUID) for image in item.get("ContourImageSequence") or ()}
    if named and not named & sources.instances:
        raise DataError(
            "label_reference", "a contour was drawn on an image that is not in this volume; add the whole series"
        )
    beyond = max(-level, level - (volume.shape[2] - 1)) * volume.spacing[2]
    raise DataError(
        "bad_contour",
        f"a contour lies {beyond:.3g} mm beyond the outermost slice, more than half the distance between slices",
    )


def _fill(contours: list[Contour], volume: Volume) -> tuple[tuple[int, int, int], NDArray[np.bool_]]:
    """Fill a region's contours slice by slice: the box that holds it, as corner and voxels."""
    shape = volume.shape
    one_plane = FRAME_TOLERANCE_MM / volume.spacing[2]
    by_slice: dict[int, list[Contour]] = {}
    for contour in contours:
        # Halves go up, all of them: rounding to even would lay two planes onto one slice and none onto the next.
        nearest = min(math.floor(round(contour.level, 6) + 0.5), shape[2] - 1)
        by_slice.setdefault(nearest, []).append(contour)
    if not by_slice:
        return (0, 0, 0), np.zeros((0, 0, 0), dtype=np.bool_)
    first, last = min(by_slice), max(by_slice)
    filled = np.zeros((*shape[:2], last - first + 1), dtype=np.bool_)
    for index, found in by_slice.items():
        nearest_level = min((contour.level for contour in found), key=lambda level: abs(level - index))
        plane = [contour.points for contour in found if abs(contour.level - nearest_level) <= one_plane]
        filled[:, :, index - first] = rasterise(plane, shape[:2])
    (i, j, k), crop = crop_to_content(filled)
    return (i, j, k + first), crop
