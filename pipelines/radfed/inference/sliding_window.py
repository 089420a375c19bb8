"""Sliding-window inference with Gaussian blending (Isensee et al. 2021), in NumPy."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray

from radfed.preprocessing.padding import margins_to, pad, unpad

Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Logits ``(B, K, *roi)`` for windows ``(B, C, *roi)``."""


@dataclass(frozen=True)
class SideBySide:
    """Threads that compute windows at the same time.

    Attributes:
        pool: the threads.
        threads: how many they are.
    """

    pool: Executor
    threads: int


# The window's weight falls to a Gaussian of this share of its side, as in nnU-Net and MONAI.
_SIGMA_SHARE = 0.125
_LEAST_WEIGHT = 1e-3
BATCH = 4
"""Windows a call of the network, where it has threads of its own or a GPU."""


def slide(
    image: NDArray[np.float32],
    predict: Predictor,
    roi: tuple[int, ...],
    overlap: float,
    batch: int = BATCH,
    side_by_side: SideBySide | None = None,
) -> NDArray[np.float32]:
    """Blend the logits of overlapping windows.

    Args:
        image: prepared image ``(C, H, W, D)``.
        predict: the network.
        roi: window (voxels), ``(H, W, D)``, or ``(H, W)`` for planes of the last axis, each by itself.
        overlap: share of a window that the next one sees again.
        batch: windows a call of ``predict``.
        side_by_side: computes calls of ``predict`` at the same time; None computes one after the other.

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
    batches = [places[first : first + batch] for first in range(0, len(places), batch)]
    for chosen, scores in zip(batches, _computed(padded, batches, predict, side_by_side), strict=True):
        if total is None:
            total = np.zeros((scores.shape[1], *spatial), dtype=np.float64)
        for place, score in zip(chosen, scores, strict=True):
            total[(slice(None), *place)] += score * weight
            norm[place] += weight
    assert total is not None  # there is at least one window
    total /= norm
    return np.ascontiguousarray(unpad(total, margins), dtype=np.float32)


def _computed(
    padded: NDArray[np.float32],
    batches: Sequence[Sequence[tuple[slice | int, ...]]],
    predict: Predictor,
    side_by_side: SideBySide | None,
) -> Iterator[NDArray[np.float32]]:
    """Logits of each batch of windows, in their order, so that their sum does not depend on who was first."""

    def one(chosen: Sequence[tuple[slice | int, ...]]) -> NDArray[np.float32]:
        return predict(np.stack([padded[(slice(None), *place)] for place in chosen]))

    if side_by_side is None:
        yield from map(one, batches)
        return
    # No further ahead than there are threads: the logits of all windows together may be larger than memory.
    ahead: deque[Future[NDArray[np.float32]]] = deque()
    for chosen in batches:
        if len(ahead) >= side_by_side.threads:
            yield ahead.popleft().result()
        ahead.append(side_by_side.pool.submit(one, chosen))
    while ahead:
        yield ahead.popleft().result()


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
