"""Missing slices, filled in only where reading was told to."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.geometry import Stack, check_distances, tolerance


def places(gathered: Stack, allowed: int) -> tuple[int, ...]:
    """The place of each level in a regular stack, counted from 0; numbers are left out where slices are missing.

    Args:
        gathered: the levels that are there.
        allowed: how many slices in a row may be missing.

    Raises:
        DataError: ``gap`` if the distances vary otherwise than by that many whole missing slices.
    """
    present = tuple(range(len(gathered.levels)))
    try:
        check_distances(gathered)
        return present
    except DataError:
        if allowed == 0:
            raise
    distances = gathered.distances
    multiples = np.rint(distances / distances.min()).astype(int)
    # Most slices must have their neighbour, or the smallest distance is no proof of the spacing.
    if (multiples == 1).sum() * 2 <= len(multiples):
        check_distances(gathered)
    found = np.concatenate([[0], np.cumsum(multiples)])
    heights = gathered.heights
    spacing = (heights[-1] - heights[0]) / found[-1]
    if np.abs(heights - heights[0] - found * spacing).max() > tolerance(float(spacing)):
        check_distances(gathered)
    if multiples.max() - 1 > allowed:
        raise DataError("gap", f"{multiples.max() - 1} slices in a row are missing, {allowed} may be interpolated")
    return tuple(int(place) for place in found)


def fill(voxels: NDArray[np.generic], present: tuple[int, ...]) -> None:
    """Write the missing levels of ``(C, D, Rows, Columns)`` in place, linearly between their neighbours."""
    whole = np.issubdtype(voxels.dtype, np.integer)
    for below, above in pairwise(present):
        for level in range(below + 1, above):
            weight = (level - below) / (above - below)
            for volume in voxels:
                between = (1 - weight) * volume[below].astype(np.float64) + weight * volume[above]
                volume[level] = np.rint(between) if whole else between
