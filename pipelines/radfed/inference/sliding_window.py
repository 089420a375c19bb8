"""Sliding-window inference with Gaussian blending (Isensee et al. 2021), in NumPy."""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
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
    image: NDArray[np.float32], predict: Predictor, roi: tuple[int, ...], overlap: float, batch: int = 4
) -> NDArray[np.float32]:
    """Blend the logits of overlapping windows.

    Args:
        image: prepared image ``(C, H, W, D)``.
        predict: the network.
        roi: window (voxels), ``(H, W, D)``, or ``(H, W)`` for planes of the last axis, each by itself.
        overlap: share of a window that the next one sees again.
        batch: windows a call of ``predict``.

    Returns:
        Logits ``(K, H, W, D)``.
    """
    margins = margins_to(image.shape[1:], (*roi, 1)[:3])
    padded = pad(image, margins)
    spatial = padded.shape[1:]
    places = _places(spatial, roi, overlap)
    if len(places) == 1:
        logits = predict(np.ascontiguousarray(padded[(slice(None), *places[0])][None]))[0]
        return np.ascontiguousarray(unpad(logits.reshape(-1, *spatial), margins))
    # Planes that a window covers whole are not blended.
    weight = _gaussian(roi) if roi != spatial[: len(roi)] else np.ones(roi, dtype=np.float32)
    total: NDArray[np.float64] | None = None
    norm = np.zeros(spatial, dtype=np.float64)
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        scores = predict(np.stack([padded[(slice(None), *place)] for place in chosen]))
        if total is None:
            total = np.zeros((scores.shape[1], *spatial), dtype=np.float64)
        for place, score in zip(chosen, scores, strict=True):
            total[(slice(None), *place)] += score * weight
            norm[place] += weight
    assert total is not None  # there is at least one window
    return np.ascontiguousarray(unpad(total / norm, margins), dtype=np.float32)


def _places(spatial: Sequence[int], roi: tuple[int, ...], overlap: float) -> list[tuple[slice | int, ...]]:
    """Where the windows lie in ``(H, W, D)``: three slices each, or two and a plane's number."""
    starts = [_starts(size, side, overlap) for size, side in zip(spatial, roi, strict=False)]
    windows = [tuple(slice(c, c + s) for c, s in zip(corner, roi, strict=True)) for corner in product(*starts)]
    if len(roi) == 3:
        return list(windows)
    return [(*window, plane) for plane in range(spatial[2]) for window in windows]


def _starts(size: int, side: int, overlap: float) -> list[int]:
    """Evenly spread window starts that cover ``size`` voxels with at least the overlap asked for."""
    if size <= side:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    count = -(-(size - side) // step) + 1
    return [round(index * (size - side) / (count - 1)) for index in range(count)]


@lru_cache(maxsize=8)
def _gaussian(roi: tuple[int, ...]) -> NDArray[np.float32]:
    axes = [np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (side * _SIGMA_SHARE)) ** 2) for side in roi]
    floored: NDArray[np.float32] = np.maximum(reduce(np.multiply.outer, axes), _LEAST_WEIGHT).astype(np.float32)
    return floored
