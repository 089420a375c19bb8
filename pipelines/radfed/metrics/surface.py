"""Distances between the surfaces of two masks: HD95 and the normalised surface Dice (NSD).

A boundary voxel is a foreground voxel with a background face neighbour, where everything outside the array is
background: the definition of MONAI's ``get_mask_edges``, so HD95 equals ``compute_hausdorff_distance(percentile=95)``
and NSD equals ``compute_surface_dice`` on the same masks and spacing.

An axis of one voxel is no axis: a plane, such as a radiograph, has a contour, and distances lie in it. Taken as a
volume of depth 1 every voxel of its masks would be a boundary voxel, and most distances 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from radfed.metrics.overlap import Mask, check_shapes


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of each boundary voxel to the nearest one of the other mask (mm, float32).

    Attributes:
        to_reference: ``(P,)``, from each boundary voxel of the prediction.
        to_prediction: ``(R,)``, from each boundary voxel of the reference.
    """

    to_reference: NDArray[np.float32]
    to_prediction: NDArray[np.float32]


def boundary(mask: Mask) -> Mask:
    """The foreground voxels that touch background, or the array's edge, with a face; same shape as ``mask``."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for shift in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(shift, shift + mask.shape[axis])
            inner &= padded[tuple(window)]
    return mask & ~inner


def surface_distances(prediction: Mask, reference: Mask, spacing: Sequence[float]) -> SurfaceDistances | None:
    """Distances between the boundaries of two masks ``(H, W, D)``; None where a mask is empty.

    Where an axis has one voxel, they are those between the contours in the plane of the other two.

    Args:
        prediction: boolean mask.
        reference: boolean mask on the same grid.
        spacing: distance between voxel centres along each axis (mm).

    Raises:
        ValueError: the shapes differ, or ``spacing`` has not one positive value an axis.
    """
    check_shapes(prediction, reference)
    scale = np.asarray(spacing, dtype=np.float64)
    if scale.shape != (prediction.ndim,) or not np.all(scale > 0):
        raise ValueError(f"spacing must hold {prediction.ndim} positive values in mm, got {tuple(spacing)}")
    flat = tuple(axis for axis, side in enumerate(prediction.shape) if side == 1)
    if len(flat) < prediction.ndim:
        prediction, reference, scale = prediction.squeeze(flat), reference.squeeze(flat), np.delete(scale, flat)
    points = [_boundary_points(mask, scale) for mask in (prediction, reference)]
    if any(len(found) == 0 for found in points):
        return None
    of_prediction, of_reference = points
    return SurfaceDistances(
        to_reference=_nearest(of_prediction, of_reference), to_prediction=_nearest(of_reference, of_prediction)
    )


def hd95(distances: SurfaceDistances) -> float:
    """The larger of the two directed 95th percentiles of the distances (mm), Huttenlocher et al. 1993 made robust."""
    directed = (distances.to_reference, distances.to_prediction)
    return float(max(np.percentile(values, 95) for values in directed))


def nsd(distances: SurfaceDistances, tolerance: float) -> float:
    """Share of both boundaries within ``tolerance`` (mm) of the other (Nikolov et al. 2018, arXiv:1809.04430).

    Boundary voxels count equally; they are not weighted by the surface that they stand for.

    Raises:
        ValueError: ``tolerance`` is negative or no number.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0 mm, got {tolerance}")
    # In float32, so that a distance equal to the tolerance is not lost to the last bit of a square root.
    limit = np.float32(tolerance)
    both = np.concatenate([distances.to_reference, distances.to_prediction])
    return float(np.count_nonzero(both <= limit) / both.size)


def _boundary_points(mask: Mask, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates (mm) of a mask's boundary voxels, looking only inside its bounding box."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if filled.size == 0:
            return np.empty((0, mask.ndim))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    corner = np.array([side.start for side in box])
    points: NDArray[np.float64] = (np.argwhere(boundary(mask[tuple(box)])) + corner) * scale
    return points


def _nearest(from_points: NDArray[np.float64], to_points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distance from each point to the nearest of the others (mm); trees of sparse points beat a dense transform."""
    tree = KDTree(to_points, leafsize=32, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(from_points, k=1)[0], dtype=np.float32)
