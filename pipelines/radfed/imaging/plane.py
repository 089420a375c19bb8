"""A plane (a radiograph, a slice, a picture) as a volume of depth 1, in world coordinates as an axial slice.

The array is ``(C, columns, rows, 1)`` and its affine ``diag(-sx, -sy, 1, 1)``: the orientation LPS shows it upright.
"""

from typing import Any

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.volume import Volume

NOMINAL_SPACING = 0.2
"""Pixel spacing (mm) of a picture that states none: about a digital detector's. Only proportions follow from it."""

_UPRIGHT = {0: ("P", "I", "R"), 1: ("L", "I", "A")}
"""How sagittal and coronal planes are drawn: where columns, rows and depth grow."""


def plane(pixels: NDArray[Any], spacing: tuple[float, float] = (NOMINAL_SPACING, NOMINAL_SPACING)) -> Volume:
    """Pixels as they are drawn, as a volume.

    Args:
        pixels: ``(rows, columns)``.
        spacing: distance between columns, and between rows (mm).
    """
    return Volume(pixels.T[np.newaxis, :, :, np.newaxis], np.diag([-spacing[0], -spacing[1], 1.0, 1.0]))


def as_plane(volume: Volume) -> Volume:
    """A volume that is one voxel deep along some axis, drawn as radiologists do if that is not its world's z.

    Sagittal planes are seen with the face to the left, coronal ones from the front.

    Raises:
        DataError: ``not_a_plane``.
    """
    if sum(side > 1 for side in volume.shape) != 2:
        shape = " x ".join(str(side) for side in volume.shape)
        raise DataError("not_a_plane", f"{shape} voxels, where the task needs one plane: give single slices")
    source = orientations.io_orientation(volume.affine)
    across = int(source[volume.shape.index(1), 0])
    if across == 2:
        return volume
    turn = orientations.ornt_transform(source, orientations.axcodes2ornt(_UPRIGHT[across]))
    order = np.argsort(turn[:, 0])
    array = np.stack([orientations.apply_orientation(channel, turn) for channel in volume.array])
    columns, rows, _ = (volume.spacing[axis] for axis in order)
    return Volume(array, np.diag([-columns, -rows, 1.0, 1.0]))
