"""Where one grid's voxels lie in another: permuted and flipped axes and whole steps, never a resampled voxel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.volume import Volume

LABEL_TOLERANCE_MM = 1e-2
"""How far a NIfTI label's corners may lie from the image's: float32 headers lose less, anatomy moves more."""

FRAME_TOLERANCE_MM = 0.1
"""The same for a DICOM object's frames and contours, whose positions are decimal text of at most 16 characters."""


@dataclass(frozen=True)
class Placement:
    """How voxels of one grid are found in another.

    Attributes:
        axes: for each axis of the one grid, the axis of the other along which it runs.
        signs: for each axis of the one grid, 1 or -1: the direction in which it runs there.
        origin: index in the other grid of the one grid's first voxel, by the other grid's axes.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]
    origin: tuple[int, int, int]

    def box(
        self, start: tuple[int, int, int], array: NDArray[np.bool_]
    ) -> tuple[tuple[int, int, int], NDArray[np.bool_]]:
        """Bring a part of the one grid, whose first voxel is ``start``, onto the other: its corner and its voxels."""
        corner = list(self.origin)
        for axis in range(3):
            first, last = start[axis], start[axis] + array.shape[axis] - 1
            corner[self.axes[axis]] += first if self.signs[axis] > 0 else -last
        turned = array[tuple(slice(None, None, sign) for sign in self.signs)]
        return (corner[0], corner[1], corner[2]), np.moveaxis(turned, (0, 1, 2), self.axes)


def to_lps(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """RAS+ affine (mm) to DICOM's LPS+, or back."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def place(
    one: NDArray[np.float64],
    shape: tuple[int, int, int],
    other: NDArray[np.float64],
    tolerance: float,
) -> Placement | None:
    """Find the grid ``one`` of ``shape`` among the voxel positions of ``other``; None if it lies elsewhere.

    Args:
        one: affine ``(4, 4)`` of the grid to place (mm).
        shape: its voxels, of which each corner must lie on a voxel position of ``other``.
        other: affine ``(4, 4)`` in the same world.
        tolerance: largest distance of a corner from its position (mm).
    """
    inner = np.linalg.solve(other, one)
    steps = inner[:3, :3]
    axes = np.abs(steps).argmax(axis=0)
    if sorted(axes) != [0, 1, 2] or not np.isfinite(inner).all():
        return None
    signs = np.sign(steps[axes, range(3)])
    if not signs.all():
        return None
    whole = np.zeros((4, 4))
    whole[axes, range(3)] = signs
    whole[:3, 3] = np.rint(inner[:3, 3])
    whole[3, 3] = 1.0
    if _corner_distance(one, other @ whole, shape) > tolerance:
        return None
    first, second, third = (int(axis) for axis in axes)
    a, b, c = (int(sign) for sign in signs)
    x, y, z = (int(step) for step in whole[:3, 3])
    return Placement((first, second, third), (a, b, c), (x, y, z))


def same_grid(one: Volume, other: Volume) -> bool:
    """Whether two volumes have the same voxel positions within 0.01 mm, in any order and direction of their axes."""
    placement = place(one.affine, one.shape, other.affine, LABEL_TOLERANCE_MM)
    return placement is not None and _covers(placement, one.shape, other.shape)


def reorient_label(label: Volume, grid: Volume) -> Volume:
    """Bring a label ``(1, H, W, D)`` onto another volume's own axes by permuting and flipping only.

    Returns:
        The label with the affine of ``grid``.

    Raises:
        DataError: ``shape_mismatch`` (not the same voxels, in any order of axes) or ``affine_mismatch``.
    """
    if sorted(label.shape) != sorted(grid.shape):
        raise DataError(
            "shape_mismatch",
            f"the label has {_by(label.shape)} voxels, the image {_by(grid.shape)}; export both from the same source",
        )
    placement = place(label.affine, label.shape, grid.affine, LABEL_TOLERANCE_MM)
    if placement is None or not _covers(placement, label.shape, grid.shape):
        raise DataError(
            "affine_mismatch",
            "the label does not lie on the image's voxels (allowed 0.01 mm, in any order of axes); "
            "export both from the same source",
        )
    voxels = np.flip(label.array, tuple(1 + axis for axis in range(3) if placement.signs[axis] < 0))
    turned = np.moveaxis(voxels, (1, 2, 3), [1 + axis for axis in placement.axes])
    return Volume(np.ascontiguousarray(turned), grid.affine)


def _covers(placement: Placement, shape: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether a placed grid fills the other exactly."""
    for axis, onto in enumerate(placement.axes):
        start = 0 if placement.signs[axis] > 0 else other[onto] - 1
        if shape[axis] != other[onto] or placement.origin[onto] != start:
            return False
    return True


def _corner_distance(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]) -> float:
    """Largest distance between corresponding corners of two grids of one shape (mm)."""
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in shape], indexing="ij")).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((one - other) @ homogeneous)[:3], axis=0).max())


def _by(sides: tuple[int, int, int]) -> str:
    return " x ".join(str(side) for side in sides)
