"""Copies between arrays whose axes lie in memory in different orders, without waiting for the memory.

A 512 x 512 x 1000 scan is slices on the way in (columns lie side by side), C-contiguous where it is hashed (slices lie
side by side), and slices again in a NIfTI file. NumPy's own copy then takes one voxel from each slice in turn; slices
are a power of two apart, so all those voxels compete for the same few cache lines. A plane at a time through a small
tile whose rows are no power of two apart is ten times faster.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAD = 8
"""Elements by which a tile's rows are longer than their content, so that they fall on different cache lines."""

_BLOCK_BYTES = 2**25


def copy_voxels(target: NDArray[Any], source: NDArray[Any]) -> None:
    """``target[...] = source`` for 3D arrays of equal shape, whatever the order of their axes in memory."""
    fast_in, fast_out = _fastest(source), _fastest(target)
    if fast_in == fast_out:
        target[...] = source
        return
    order = (3 - fast_in - fast_out, fast_in, fast_out)
    planes_in, planes_out = source.transpose(order), target.transpose(order)
    width = planes_in.shape[1]
    tile = np.empty((planes_in.shape[2], width + _PAD), dtype=source.dtype)[:, :width]
    for plane_in, plane_out in zip(planes_in, planes_out, strict=True):
        tile[...] = plane_in.T
        plane_out[...] = tile.T


def in_c_order(array: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The voxels of a 3D array in another type, as C-contiguous blocks of planes of its first axis."""
    plane = int(np.prod(array.shape[1:], dtype=np.int64)) * dtype.itemsize
    planes = max(1, _BLOCK_BYTES // max(plane, 1))
    for start in range(0, array.shape[0], planes):
        part = array[start : start + planes]
        if part.dtype == dtype and part.flags.c_contiguous:
            yield part
            continue
        block = np.empty(part.shape, dtype=dtype)
        copy_voxels(block, part)
        yield block


def _fastest(array: NDArray[Any]) -> int:
    """The axis whose neighbours are nearest in memory; axes of one voxel have no neighbours."""
    steps = [abs(step) if side > 1 else np.inf for step, side in zip(array.strides, array.shape, strict=True)]
    return len(steps) - 1 - int(np.argmin(steps[::-1]))
