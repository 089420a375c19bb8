"""The channels of a case, read one by one, as one image."""

from collections.abc import Sequence

import numpy as np

from radfed.dataset.checks import check_same_grid
from radfed.errors import DataError
from radfed.imaging.dicom.selection import Channelled
from radfed.imaging.volume import Volume


def one_image(volumes: Sequence[Volume], task: Channelled) -> Volume:
    """Stack one volume ``(1, H, W, D)`` a channel to ``(C, H, W, D)`` on the grid of the first; nothing is resampled.

    Raises:
        DataError: ``several_volumes``, ``shape_mismatch`` or ``affine_mismatch``.
    """
    for volume in volumes:
        if volume.array.shape[0] != 1:
            raise DataError(
                "several_volumes",
                f"the series holds {volume.array.shape[0]} volumes over time or contrast, the task needs one; "
                "let the channel's rule choose another series",
            )
    for volume, channel in zip(volumes[1:], task.channels[1:], strict=True):
        check_same_grid(volume, volumes[0], f"channel {channel.name}", task.channels[0].name)
    if len(volumes) == 1:
        return volumes[0]
    return Volume(np.concatenate([volume.array for volume in volumes]), volumes[0].affine)
