"""Precision and recall over all thresholds, and their area: average precision.

Average precision is the mean precision at each positive case's score, without interpolation; of chance it is the share
of positive cases, so it is to be read beside that share.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.roc import Scores, Truth, usable


@dataclass(frozen=True)
class PrecisionCurve:
    """Precision and recall ``(T,)`` from the highest threshold down."""

    recall: Scores
    precision: Scores


def average_precision(truth: Truth, scores: Scores) -> float | None:
    """Sum over thresholds of the gain of recall times precision; None with one class only or a score of NaN."""
    if not usable(truth, scores):
        return None
    return float(weighted_average_precision(truth, scores, np.ones((1, len(scores))))[0])


def weighted_average_precision(truth: Truth, scores: Scores, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision for each of several weightings of the cases.

    Args:
        truth: ``(N,)``.
        scores: finite ``(N,)``.
        weights: how often each case counts ``(B, N)``.

    Returns:
        ``(B,)``, NaN where a class has no weight.
    """
    found, called = _cumulated(truth, scores, weights)
    gained = np.diff(found, axis=1, prepend=0.0)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    positives = found[:, -1]
    both = (positives > 0) & (called[:, -1] > positives)
    area: NDArray[np.float64] = np.sum(gained * precision, axis=1)
    return np.asarray(np.divide(area, positives, out=np.full(len(weights), np.nan), where=both), dtype=np.float64)


def precision_curve(truth: Truth, scores: Scores) -> PrecisionCurve | None:
    """The curve, one point a distinct score; None with one class only or a score that is not finite."""
    if not usable(truth, scores):
        return None
    found, called = _cumulated(truth, scores, np.ones((1, len(scores))))
    return PrecisionCurve(found[0] / found[0, -1], found[0] / called[0])


def _cumulated(
    truth: Truth, scores: Scores, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of positive cases, and of all, from the highest score down to each distinct one ``(B, T)``."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) < 0, True])
    ordered = weights[:, order]
    return np.cumsum(ordered * truth[order], axis=1)[:, last], np.cumsum(ordered, axis=1)[:, last]
