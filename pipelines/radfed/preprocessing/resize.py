"""Resize arrays with antialiasing: a triangle filter as wide as the larger of both pixels, axis by axis.

The same arithmetic as Pillow's BILINEAR and torch's ``interpolate(mode="bilinear", antialias=True)``.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize the last ``len(shape)`` axes; outer faces of the first and last pixels stay where they are.

    An axis that has its length already is not touched.
    """
    lead = image.ndim - len(shape)
    # The axis that shrinks most first: the others then have less to do.
    for axis in sorted(range(len(shape)), key=lambda axis: shape[axis] / image.shape[lead + axis]):
        length = image.shape[lead + axis]
        if length != shape[axis]:
            last = np.moveaxis(image, lead + axis, -1)
            image = np.moveaxis(last @ _weights(length, shape[axis]), -1, lead + axis)
    return image


@lru_cache(maxsize=16)
def _weights(source: int, target: int) -> NDArray[np.float32]:
    """``(source, target)``: how much each source pixel gives to each target pixel."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(source)[:, np.newaxis] - centres) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    weights = (weights / weights.sum(axis=0)).astype(np.float32)
    weights.setflags(write=False)
    return np.asarray(weights)
