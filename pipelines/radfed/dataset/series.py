"""One image of one or more channels from one or more files."""

from pathlib import Path

import numpy as np

from radfed.dataset.checks import check_same_grid
from radfed.errors import DataError
from radfed.imaging.nifti import read_image
from radfed.imaging.volume import Volume


def read_series(paths: tuple[Path, ...], channels: tuple[int, ...] = ()) -> Volume:
    """Read the files of one case as one image ``(C, H, W, D)``, on the grid of the first.

    Args:
        paths: one file of any number of channels, or one file a channel.
        channels: the channel numbers in the file names, empty if they have none.

    Raises:
        DataError: ``channel_mismatch`` if a number is missing, ``shape_mismatch``, ``affine_mismatch``, or what
            reading raises.
    """
    if channels and channels != tuple(range(len(channels))):
        got = ", ".join(f"{number:04d}" for number in channels)
        raise DataError("channel_mismatch", f"channel files must be numbered from 0000 without a gap, got {got}")
    volumes = [read_image(path) for path in paths]
    for index, volume in enumerate(volumes[1:], start=1):
        check_same_grid(volume, volumes[0], f"channel {index}", "channel 0")
    if len(volumes) == 1:
        return volumes[0]
    return Volume(np.concatenate([volume.array for volume in volumes]), volumes[0].affine)
