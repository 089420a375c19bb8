"""What acting on a model's answers is worth: net benefit and the decision curve (Vickers and Elkin 2006).

Whoever acts from a probability ``p`` on holds a missed case for ``(1 - p) / p`` times as bad as a needless action. The
net benefit counts the cases rightly acted upon, less the needless ones at that exchange, per case.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.intervals import Statistic

Truth = NDArray[np.bool_]
Scores = NDArray[np.float64]


def net_benefit(truth: Truth, scores: Scores, thresholds: Sequence[float] | Scores) -> Scores:
    """Net benefit of acting where the probability is at least the threshold.

    Args:
        truth: ``(N,)``, N at least 1.
        scores: probabilities ``(N,)``.
        thresholds: above 0 and below 1 ``(T,)``.

    Returns:
        ``(T,)``, at most the share of positive cases; 0 is worth as much as never acting.

    Raises:
        ValueError: there is no case, the lengths differ, or a threshold is 0, 1 or outside.
    """
    called = scores[None] >= _checked(thresholds)[:, None]
    return _worth(truth, scores, called, thresholds)


def treat_all(truth: Truth, thresholds: Sequence[float] | Scores) -> Scores:
    """Net benefit of acting on every case ``(T,)``; that of acting on none is 0.

    Raises:
        ValueError: as ``net_benefit``.
    """
    limits = _checked(thresholds)
    return _worth(truth, truth, np.ones((len(limits), len(truth)), dtype=bool), limits)


def net_benefit_statistic(truth: Truth, scores: Scores, threshold: float) -> Statistic:
    """Net benefit at one threshold for several weightings of the cases, for ``radfed.metrics.intervals``."""
    called, odds = scores >= threshold, threshold / (1 - threshold)
    worth = (called & truth).astype(np.float64) - odds * (called & ~truth)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weights @ worth / weights.sum(axis=1), dtype=np.float64)

    return statistic


def _worth(
    truth: Truth, beside: NDArray[np.generic], called: NDArray[np.bool_], thresholds: Sequence[float] | Scores
) -> Scores:
    if truth.ndim != 1 or truth.shape != beside.shape or not len(truth):
        raise ValueError(f"truth and scores must be equally long vectors of cases, got {truth.shape}, {beside.shape}")
    limits = np.asarray(thresholds, dtype=np.float64)
    right, needless = (called & truth).mean(axis=1), (called & ~truth).mean(axis=1)
    return np.asarray(right - needless * limits / (1 - limits), dtype=np.float64)


def _checked(thresholds: Sequence[float] | Scores) -> Scores:
    limits = np.asarray(thresholds, dtype=np.float64)
    if not np.all((limits > 0) & (limits < 1)):
        raise ValueError(f"thresholds must lie between 0 and 1, got {limits.tolist()}")
    return limits
