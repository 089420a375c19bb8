"""Sliding-window inference with Gaussian blending (Isensee et al. 2021), in NumPy."""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from radfed.preprocessing.padding import margins_to, pad, unpad

Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Logits ``(B, K, *roi)`` for windows ``(B, C, *roi)``."""

# The window's weight falls to a Gaussian of this share of its side, as in nnU-Net and MONAI.
_SIGMA_SHARE = 0.125
_LEAST_WEIGHT = 1e-3


def slide(
    image: NDArray[np.float32], predict: Predictor, roi: tuple[int, int, int], overlap: float, batch: int = 4
) -> NDArray[np.float32]:
    """Blend the logits of overlapping windows.

    Args:
        image: prepared image ``(C, H, W, D)``.
        predict: the network.
        roi: window (voxels).
        overlap: share of a window that the next one sees again.
        batch: windows a call of ``predict``.

    Returns:
        Logits ``(K, H, W, D)``.
    """
    margins = margins_to(image.shape[1:], roi)
    padded = pad(image, margins)
    spatial = padded.shape[1:]
    corners = list(product(*(_starts(size, side, overlap) for size, side in zip(spatial, roi, strict=True))))
    if len(corners) == 1:
        logits = predict(padded[None])[0]
        return np.ascontiguousarray(unpad(logits, margins))
    weight = _gaussian(roi)
    total: NDArray[np.float64] | None = None
    norm = np.zeros(spatial, dtype=np.float64)
    for first in range(0, len(corners), batch):
        windows = [
            tuple(slice(c, c + s) for c, s in zip(corner, roi, strict=True))
            for corner in corners[first : first + batch]
        ]
        scores = predict(np.stack([padded[(slice(None), *window)] for window in windows]))
        if total is None:
            total = np.zeros((scores.shape[1], *spatial), dtype=np.float64)
        for window, score in zip(windows, scores, strict=True):
            total[(slice(None), *window)] += score * weight
            norm[window] += weight
    assert total is not None  # there is at least one window
    return np.ascontiguousarray(unpad(total / norm, margins), dtype=np.float32)


def _starts(size: int, side: int, overlap: float) -> list[int]:
    """Evenly spread window starts that cover ``size`` voxels with at least the overlap asked for."""
    if size <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    count = -(-(size - side) // step) + 1
    return [round(index * (size - side) / (count - 1)) for index in range(count)]


@lru_cache(maxsize=8)
def _gaussian(roi: tuple[int, int, int]) -> NDArray[np.float32]:
    axes = [np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side * _SIGMA_SHARE)) ** 2) for side in roi]
    weight = np.einsum("i,j,k->ijk", *axes)
    floored: NDArray[np.float32] = np.maximum(weight, _LEAST_WEIGHT).astype(np.float32)
    return floored
