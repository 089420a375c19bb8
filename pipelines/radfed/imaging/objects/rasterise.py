"""Closed contours to voxels: a voxel is in if its centre is, by the even-odd rule.

Several contours of one region on one slice combine by exclusive or, so that a contour within another is a hole, as is
the inside of a keyhole contour (PS3.3 C.8.8.6.3).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DECIMALS = 6
"""Coordinates are rounded to a millionth of a voxel, so that points drawn at voxel centres stay on them."""


def rasterise(contours: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill closed contours on one slice.

    Args:
        contours: points ``(N, 2)`` each, as voxel indices ``(i, j)``; the last point joins the first.
        shape: voxels ``(H, W)`` of the slice; what lies outside is cut off.

    Returns:
        Mask ``(H, W)``. A centre exactly on an edge is in on the side of lower indices and out on the other, so
        that regions with a common edge never share or lose a voxel.
    """
    height, width = shape
    toggles = np.zeros((height + 1) * width, dtype=np.int64)
    for contour in contours:
        points = np.round(contour, _DECIMALS)
        rows, crossings = _crossings(points, np.roll(points, -1, axis=0), width)
        first_inside = np.clip(np.ceil(np.round(crossings, _DECIMALS)), 0, height).astype(np.int64)
        toggles += np.bincount(first_inside * width + rows, minlength=toggles.size)
    filled: NDArray[np.bool_] = (np.cumsum(toggles.reshape(height + 1, width), axis=0)[:height] % 2).astype(np.bool_)
    return filled


def _crossings(
    starts: NDArray[np.float64], ends: NDArray[np.float64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where edges cross the lines through the voxel centres of each index j: the lines, and the places along i."""
    downward = ends[:, 1] < starts[:, 1]
    low = np.where(downward[:, None], ends, starts)
    high = np.where(downward[:, None], starts, ends)
    # Half-open: an edge crosses the line of its lower end and not that of its upper, so corners count once.
    first = np.clip(np.ceil(low[:, 1]), 0, width).astype(np.int64)
    stop = np.clip(np.ceil(high[:, 1]), 0, width).astype(np.int64)
    counts = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(starts)), counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = first[edge] + within
    slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
    return rows, low[edge, 0] + (rows - low[edge, 1]) * slope
