"""Whether a scan can be of the kind that a task was made for: its extent and its voxels."""

from collections.abc import Sequence

import numpy as np
from nibabel import orientations

from radfed.errors import DataError
from radfed.imaging.volume import Volume
from radfed.task import Intensity, Limits, Window

_BYTE = 255


def check_geometry(volume: Volume, limits: Limits) -> None:
    """Refuse a scan of another body part, a localizer or a thumbnail.

    Args:
        volume: ``(C, H, W, D)`` in any axis order.
        limits: along R, A, S (mm).

    Raises:
        DataError: ``implausible_size`` or ``implausible_spacing``.
    """
    # Extent first: where both are wrong, it says more plainly that this is another body part.
    got = extent_ras(volume)
    for side, least, most in zip(got, limits.min_size_mm, limits.max_size_mm, strict=True):
        if not least <= side <= most:
            raise DataError(
                "implausible_size",
                f"extent {by(got)} mm along R, A, S; allowed: {by(limits.min_size_mm)} to {by(limits.max_size_mm)} mm; "
                "is this the right body part?",
            )
    if min(volume.spacing) < limits.min_spacing or max(volume.spacing) > limits.max_spacing:
        raise DataError(
            "implausible_spacing",
            f"spacing {by(volume.spacing)} mm; allowed: {limits.min_spacing:g} to {limits.max_spacing:g} mm; "
            "is this a localizer, or was the scan resampled?",
        )


def check_depth(picture: Volume, intensity: Intensity) -> None:
    """Refuse a PNG of other bits than a task's window of grey values is for: it would be black, or white.

    Nothing else says what a PNG's values mean. Rules that follow an image's own values take any.

    Args:
        picture: as stored, uint8 or uint16.
        intensity: the task's.

    Raises:
        DataError: ``mixed_depth``.
    """
    if not isinstance(intensity, Window):
        return
    got, wanted = 8 * picture.array.dtype.itemsize, 8 if intensity.upper <= _BYTE else 16
    if got != wanted:
        raise DataError(
            "mixed_depth",
            f"a PNG of {got} bits, where the task's window from {intensity.lower:g} to {intensity.upper:g} is for "
            f"values of {wanted} bits; export it as the images for training were",
        )


def extent_ras(volume: Volume) -> tuple[float, float, float]:
    """Lengths along the array axes closest to R, A and S, voxel edge to voxel edge (mm)."""
    lengths = np.multiply(volume.shape, volume.spacing)
    axes = orientations.io_orientation(volume.affine)[:, 0].astype(int)
    right, anterior, superior = (float(lengths[axis]) for axis in np.argsort(axes))
    return right, anterior, superior


def by(values: Sequence[float]) -> str:
    """Lengths as people write them: 1 x 1 x 3."""
    return " x ".join(f"{value:.4g}" for value in values)
