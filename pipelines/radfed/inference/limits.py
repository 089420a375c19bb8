"""Whether a scan is one that the task was made for."""

import numpy as np
from nibabel import orientations

from radfed.errors import DataError
from radfed.imaging.volume import Volume
from radfed.task import TaskSpec


def check_limits(volume: Volume, task: TaskSpec) -> None:
    """Refuse a scan that is no plausible case of the task: another body part, or a thumbnail.

    Args:
        volume: ``(C, H, W, D)`` in any axis order.
        task: the contract; its limits are along R, A, S (mm).

    Raises:
        DataError: ``channel_mismatch``, ``implausible_size`` or ``implausible_spacing``.
    """
    if volume.array.shape[0] != len(task.channels):
        names = ", ".join(channel.name for channel in task.channels)
        raise DataError(
            "channel_mismatch",
            f"the task {task.name} needs {len(task.channels)} channel(s) ({names}), got {volume.array.shape[0]}; "
            "give one file a case, with the channels along the last axis of a 4D file",
        )
    extent = _extent_ras(volume)
    limits = task.limits
    for side, least, most in zip(extent, limits.min_size_mm, limits.max_size_mm, strict=True):
        if not least <= side <= most:
            raise DataError(
                "implausible_size",
                f"the scan measures {_by(extent)} mm along R, A, S; the task {task.name} is for "
                f"{_by(limits.min_size_mm)} to {_by(limits.max_size_mm)} mm; is this the right body part?",
            )
    if min(volume.spacing) < limits.min_spacing or max(volume.spacing) > limits.max_spacing:
        raise DataError(
            "implausible_spacing",
            f"voxels of {_by(volume.spacing)} mm; the task {task.name} is for {limits.min_spacing:g} to "
            f"{limits.max_spacing:g} mm; is this a localizer, or was the scan resampled?",
        )


def _extent_ras(volume: Volume) -> tuple[float, ...]:
    """Lengths along the array axes closest to R, A and S, voxel edge to voxel edge (mm)."""
    lengths = np.multiply(volume.shape, volume.spacing)
    axes = orientations.io_orientation(volume.affine)[:, 0].astype(int)
    return tuple(float(lengths[axis]) for axis in np.argsort(axes))


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
