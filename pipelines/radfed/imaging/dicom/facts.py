"""What a series looks like before its pixels are read: plane, slices, distance of slices."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radfed.imaging.dicom.index import Series

Plane = Literal["axial", "coronal", "sagittal"]
_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")  # normals along x, y, z
_SAME_MM = 1e-2


def plane(series: Series) -> Plane | None:
    """The anatomical plane closest to the slices; None where the headers do not say."""
    normal = _normal(series)
    return None if normal is None else _PLANES[int(np.abs(normal).argmax())]


def slices(series: Series) -> int:
    """How many places the slices lie at; the number of frames where the headers do not say."""
    along = _along(series)
    return len(series.slices) if along is None else len(along)


def slice_distance(series: Series) -> float | None:
    """Middle distance between neighbouring slices (mm); a single slice's thickness; None if unknown."""
    along = _along(series)
    if along is None or len(along) < 2:
        return series.slice_thickness
    return float(np.median(np.diff(along)))


def _normal(series: Series) -> NDArray[np.float64] | None:
    cosines = series.slices[0].frame.orientation
    if cosines is None or len(cosines) != 6 or not np.isfinite(cosines).all():
        return None
    return np.cross(cosines[:3], cosines[3:])


def _along(series: Series) -> NDArray[np.float64] | None:
    """Different positions along the normal, ascending (mm)."""
    normal = _normal(series)
    positions = [one.frame.position for one in series.slices]
    if normal is None or any(position is None or len(position) != 3 for position in positions):
        return None
    along = np.sort(np.array(positions, dtype=np.float64) @ normal)
    apart = np.concatenate([[True], np.diff(along) > _SAME_MM])
    different: NDArray[np.float64] = along[apart]
    return different
