"""A tilted gantry's shear, resampled away only where reading was told to.

The slices keep their planes; each is shifted within its plane, linearly between pixels, so that the stack stands
upright. The grid grows by the whole shift: nothing is cut off.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Upright:
    """How slices are moved in the upright grid.

    Attributes:
        shear: how far each slice lies from the one before, along the column and the row index (pixels).
        lowest: the smallest shift of any slice, along both (pixels): where the upright grid begins.
        shape: ``(Rows, Columns)`` of the upright grid.
    """

    shear: tuple[float, float]
    lowest: tuple[float, float]
    shape: tuple[int, int]


def upright(shear: tuple[float, float], levels: int, rows: int, columns: int) -> Upright:
    """The smallest upright grid that holds a sheared stack."""
    ends = [shift * (levels - 1) for shift in shear]
    wider, higher = (math.ceil(abs(end) - 1e-6) for end in ends)
    return Upright(shear, (min(0.0, ends[0]), min(0.0, ends[1])), (rows + higher, columns + wider))


def straighten(voxels: NDArray[np.generic], plan: Upright, rows: int, columns: int) -> None:
    """Shift the slices of ``(C, D, Rows, Columns)`` in place; each lies in its first ``rows`` and ``columns``.

    What no slice reached gets the lowest value of its volume.
    """
    whole = np.issubdtype(voxels.dtype, np.integer)
    for volume in voxels:
        outside = float(volume[:, :rows, :columns].min())
        for level, target in enumerate(volume):
            # An upright pixel's place in the sheared slice; rounded, or a last row at 4.0000000001 would be lost.
            offset = [round(plan.lowest[axis] - level * plan.shear[axis], 6) for axis in (1, 0)]
            moved = ndimage.affine_transform(
                target[:rows, :columns].astype(np.float64), [1.0, 1.0], offset, plan.shape, order=1, cval=outside
            )
            target[...] = np.rint(moved) if whole else moved
