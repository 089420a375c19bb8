"""Centred padding up to a least shape, and its exact inverse."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Margins = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def margins_to(shape: tuple[int, ...], least: tuple[int, ...]) -> Margins:
    """Voxels to add before and after each spatial axis so that none is shorter than ``least``."""
    missing = [max(0, wanted - got) for got, wanted in zip(shape, least, strict=True)]
    before_after = [(gap // 2, gap - gap // 2) for gap in missing]
    return before_after[0], before_after[1], before_after[2]


def pad(array: NDArray[Any], margins: Margins, value: float = 0.0) -> NDArray[Any]:
    """Pad the last three axes of ``(..., H, W, D)`` with a constant."""
    lead = [(0, 0)] * (array.ndim - 3)
    return np.pad(array, [*lead, *margins], constant_values=value)


def unpad(array: NDArray[Any], margins: Margins) -> NDArray[Any]:
    """Take back what ``pad`` added."""
    height, width, depth = (
        slice(before, size - after) for (before, after), size in zip(margins, array.shape[-3:], strict=True)
    )
    return array[..., height, width, depth]
