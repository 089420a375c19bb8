"""From the scanner's grid to the task's grid and back: orientation, then spacing.

Voxel centres are aligned by their corners: the outer faces of the first voxels of both grids coincide, so the task's
grid covers the same space whatever the two spacings are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from scipy import ndimage

from radfed.task import SegmentationTask

Shape3 = tuple[int, int, int]
Spacing3 = tuple[float, float, float]

# Spacings that differ by less than this are one: headers store float32.
SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Grid:
    """What it takes to go to the task's grid and back.

    Attributes:
        to_task: nibabel orientation transform ``(3, 2)`` from the scanner's axes to the task's.
        source_shape: voxels on the scanner's grid, in its axis order.
        oriented_shape: the same voxels in the task's axis order.
        oriented_spacing: the scanner's spacing in the task's axis order (mm).
        task_shape: voxels on the task's grid.
        task_spacing: the task's spacing (mm); of planes the distance is the scanner's.
    """

    to_task: NDArray[np.float64]
    source_shape: Shape3
    oriented_shape: Shape3
    oriented_spacing: Spacing3
    task_shape: Shape3
    task_spacing: Spacing3

    @classmethod
    def of(cls, shape: Shape3, affine: NDArray[np.float64], task: SegmentationTask) -> "Grid":
        """The way from a scanner's grid to the grid of ``task``.

        Args:
            shape: voxels on the scanner's grid.
            affine: ``(4, 4)``, voxel index to RAS+ world (mm).
            task: the contract.
        """
        source = orientations.io_orientation(affine)
        to_task = orientations.ornt_transform(source, orientations.axcodes2ornt(tuple(task.orientation)))
        order = np.argsort(to_task[:, 0])
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        oriented_shape = tuple(int(shape[axis]) for axis in order)
        oriented_spacing = tuple(float(spacing[axis]) for axis in order)
        task_spacing = (*task.spacing[: task.dimensions], *oriented_spacing[task.dimensions :])
        task_shape = tuple(
            n if _same(s, t) else max(1, round(n * s / t))
            for n, s, t in zip(oriented_shape, oriented_spacing, task_spacing, strict=True)
        )
        return cls(to_task, shape, oriented_shape, oriented_spacing, task_shape, task_spacing)  # type: ignore[arg-type]

    @property
    def last_axis(self) -> int:
        """Which axis of the scanner becomes the last one of the task's orientation."""
        return int(np.argmax(self.to_task[:, 0]))

    def image_to_task(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Linear interpolation of ``(C, H, W, D)``, smoothed first along axes that lose resolution."""
        oriented = np.stack([_orient(channel, self.to_task) for channel in image])
        if self.task_shape == self.oriented_shape:
            return np.ascontiguousarray(oriented, dtype=np.float32)
        factors = np.divide(self.task_spacing, self.oriented_spacing)
        # Averaging over the larger voxel, as a scanner would: sigma as in scikit-image's anti-aliasing.
        sigma = np.maximum(0.0, (factors - 1) / 2)
        smooth = (ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in oriented)
        return np.stack([_resample(channel, factors, self.task_shape, order=1) for channel in smooth])

    def label_to_task(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Nearest-neighbour interpolation of ``(H, W, D)``."""
        oriented = _orient(label, self.to_task)
        if self.task_shape == self.oriented_shape:
            return np.ascontiguousarray(oriented)
        return _resample(oriented, np.divide(self.task_spacing, self.oriented_spacing), self.task_shape, order=0)

    def scores_to_source(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring class scores ``(K, H, W, D)`` on the task's grid back to the scanner's, by linear interpolation."""
        if self.task_shape != self.oriented_shape:
            factors = np.divide(self.oriented_spacing, self.task_spacing)
            scores = _interpolate(scores, factors, self.oriented_shape)
        back = _inverse(self.to_task)
        return np.ascontiguousarray(np.stack([_orient(channel, back) for channel in scores]))


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= SPACING_TOLERANCE * b


def _inverse(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """The orientation transform that undoes ``transform``."""
    inverse = np.empty_like(transform)
    for source, (target, flip) in enumerate(transform):
        inverse[int(target)] = (source, flip)
    return inverse


def _orient(array: NDArray[Any], transform: NDArray[np.float64]) -> NDArray[Any]:
    oriented: NDArray[Any] = orientations.apply_orientation(array, transform)
    return oriented


def _interpolate(scores: NDArray[np.float32], factors: NDArray[np.float64], shape: Shape3) -> NDArray[np.float32]:
    """What ``_resample`` of order 1 gives for each channel, up to rounding, several times as fast: axis by axis."""
    # The axis that grows least first: the others then have less to do.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / scores.shape[1 + axis]):
        last = scores.shape[1 + axis] - 1
        place = np.clip(np.arange(shape[axis]) * factors[axis] + (factors[axis] - 1) / 2, 0, last)
        low = place.astype(np.intp)
        share = (place - low).astype(np.float32).reshape(-1, *[1] * (2 - axis))
        below, above = np.take(scores, low, 1 + axis), np.take(scores, np.minimum(low + 1, last), 1 + axis)
        above -= below
        above *= share
        above += below
        scores = above
    return scores


def _resample(array: NDArray[Any], factors: NDArray[np.float64], shape: Shape3, order: int) -> NDArray[Any]:
    """Sample ``array`` where the corner-aligned target grid has its voxel centres; edges repeat."""
    offset = (factors - 1) / 2
    resampled: NDArray[Any] = ndimage.affine_transform(
        array, factors, offset=offset, output_shape=shape, order=order, mode="nearest", prefilter=False
    )
    return resampled
