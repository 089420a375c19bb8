"""Aggregation as pure functions: what is a weight is averaged, what is a statistic is pooled, what is a count is kept.

FedAvg (McMahan et al. 2017) averages parameters. Averaging is wrong for the buffers of batch normalisation: the
variance of a union is not the mean of the variances, and a number of batches is an integer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfed.weights import Weights

_PIECE = 1 << 16
_MEAN, _VARIANCE = "running_mean", "running_var"


@dataclass(frozen=True)
class Update:
    """What one site sent: its weights, and how many training cases stand behind them."""

    site: str
    weights: Weights
    cases: float


def refusal(update: Mapping[str, Any], reference: Weights) -> str | None:
    """Why an update cannot enter the aggregate, as a code; None when it can."""
    if update.keys() != reference.keys():
        return "other_names"
    for name, expected in reference.items():
        array = update[name]
        if not isinstance(array, np.ndarray) or array.shape != expected.shape:
            return "other_shapes"
        if array.dtype != expected.dtype:
            return "other_types"
        if not np.isfinite(array).all():
            return "not_finite"
        if name.endswith(_VARIANCE) and (array < 0).any():
            return "negative_variance"
    return None


def change_norm(update: Weights, reference: Weights) -> float:
    """L2 norm of the change over all floating-point tensors."""
    # In the tensor's own precision: the norm is compared with others, not computed with. Too large is infinite.
    with np.errstate(over="ignore"):
        norms = [
            float(np.linalg.norm((update[name] - expected).ravel()))
            for name, expected in reference.items()
            if np.issubdtype(expected.dtype, np.floating)
        ]
    return float(np.linalg.norm(norms))


def aggregate(updates: Sequence[Update]) -> dict[str, NDArray[Any]]:
    """The case-weighted aggregate; the same whatever the order of ``updates``.

    Raises:
        ValueError: there is no update, or no case behind any.
    """
    ordered = sorted(updates, key=lambda update: update.site)
    cases = np.array([update.cases for update in ordered], dtype=np.float64)
    if cases.size == 0 or not cases.sum() > 0:
        raise ValueError("nothing to aggregate: no update with a training case behind it")
    shares = cases / cases.sum()
    return {name: _combine(name, ordered, shares) for name in ordered[0].weights}


def _combine(name: str, updates: Sequence[Update], shares: NDArray[np.float64]) -> NDArray[Any]:
    arrays = [update.weights[name] for update in updates]
    if not np.issubdtype(arrays[0].dtype, np.floating):
        # A counter (num_batches_tracked) or a fixed index table: the furthest count, in its own type.
        furthest: NDArray[Any] = np.maximum.reduce(arrays)
        return furthest
    if name.endswith(_VARIANCE):
        means = [update.weights[name.removesuffix(_VARIANCE) + _MEAN] for update in updates]
        return _pooled_variance(arrays, means, shares)
    return _mean(arrays, shares, arrays[0].dtype)


def _mean(arrays: Sequence[NDArray[Any]], shares: NDArray[np.float64], kind: np.dtype[Any]) -> NDArray[Any]:
    """The mean of type ``kind``, added up in double precision; in pieces that stay in the processor's cache."""
    mean = np.empty(arrays[0].shape, dtype=kind)
    flat, parts = mean.reshape(-1), [array.reshape(-1) for array in arrays]
    for start in range(0, flat.size, _PIECE):
        piece = slice(start, start + _PIECE)
        total = np.zeros(flat[piece].shape, dtype=np.float64)
        for share, part in zip(shares, parts, strict=True):
            total += part[piece] * share
        flat[piece] = total
    return mean


def _pooled_variance(
    variances: Sequence[NDArray[Any]], means: Sequence[NDArray[Any]], shares: NDArray[np.float64]
) -> NDArray[Any]:
    """Variance of the union of groups: the mean of the variances and the variance of the means."""
    centre = _mean(means, shares, np.dtype(np.float64))
    spread = [
        variance.astype(np.float64) + (mean - centre) ** 2 for variance, mean in zip(variances, means, strict=True)
    ]
    return _mean(spread, shares, variances[0].dtype)
