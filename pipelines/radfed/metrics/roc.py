"""Area under the ROC curve: how often a positive case scores above a negative one (Mann and Whitney 1947).

Its variance, and the test of two areas on the same cases, after DeLong, DeLong and Clarke-Pearson 1988, from midranks
in O(n log n) (Sun and Xu 2014).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from radfed.metrics.intervals import Interval

Truth = NDArray[np.bool_]
Scores = NDArray[np.float64]
Scale = Literal["logit", "plain"]


@dataclass(frozen=True)
class Auroc:
    """An area under the ROC curve.

    Attributes:
        value: 0 to 1; a half is chance.
        variance: of the value; None with fewer than two cases of a class.
        positives: number of positive cases.
        negatives: number of negative cases.
    """

    value: float
    variance: float | None
    positives: int
    negatives: int


@dataclass(frozen=True)
class AurocDifference:
    """How much larger the first of two areas is, on the same cases.

    Attributes:
        value: the first minus the second.
        interval: of the value; None where no spread can be told.
        p: of the two-sided test that both are equal; None where no spread can be told.
    """

    value: float
    interval: Interval | None
    p: float | None


@dataclass(frozen=True)
class RocCurve:
    """Points of a ROC curve from (0, 0) to (1, 1), each ``(T,)``; a case scores positive from the threshold on."""

    false_positive_rate: Scores
    sensitivity: Scores
    thresholds: Scores


def usable(truth: Truth, scores: Scores) -> bool:
    """Whether there are cases of both classes, and all scores are finite.

    Raises:
        ValueError: ``truth`` and ``scores`` are not equally long vectors.
    """
    if truth.ndim != 1 or truth.shape != scores.shape:
        raise ValueError(f"truth and scores must be equally long vectors, got {truth.shape} and {scores.shape}")
    return bool(truth.any()) and not bool(truth.all()) and bool(np.isfinite(scores).all())


def auroc(truth: Truth, scores: Scores) -> float | None:
    """The area; a tie of a positive and a negative case counts half. None with one class only or a score of NaN."""
    return float(weighted_auroc(truth, scores, np.ones((1, len(scores))))[0]) if usable(truth, scores) else None


def weighted_auroc(truth: Truth, scores: Scores, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area for each of several weightings of the cases.

    Args:
        truth: ``(N,)``.
        scores: finite ``(N,)``.
        weights: how often each case counts ``(B, N)``.

    Returns:
        ``(B,)``, NaN where a class has no weight.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    positive = np.add.reduceat(weights[:, order] * truth[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~truth[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = np.sum(positive * (below + negative / 2), axis=1)
    return np.asarray(np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0), dtype=np.float64)


def delong(truth: Truth, scores: Scores) -> Auroc | None:
    """The area with its variance; None with one class only or a score that is not finite."""
    if not usable(truth, scores):
        return None
    of_positives, of_negatives = _components(truth, scores)
    variance = _covariance(of_positives, of_positives, of_negatives, of_negatives)
    return Auroc(float(of_positives.mean()), variance, len(of_positives), len(of_negatives))


def auroc_interval(found: Auroc, level: float = 0.95, scale: Scale = "logit") -> Interval | None:
    """The normal interval of an area, on the logit scale (which stays within 0 and 1) or as it is.

    Where DeLong's variance is 0, as it is when the classes are told apart without a mistake, the interval is
    Newcombe's (2006, Statistics in Medicine 25:559, method 5), which needs no spread in the sample.

    Returns:
        None with fewer than two cases of a class.
    """
    if found.variance is None:
        return None
    z = float(ndtri((1 + level) / 2))
    if found.variance <= 0:
        return _newcombe(found, z)
    reach = z * math.sqrt(found.variance)
    if scale == "plain" or not 0 < found.value < 1:
        return Interval(max(0.0, found.value - reach), min(1.0, found.value + reach))
    middle = math.log(found.value / (1 - found.value))
    reach /= found.value * (1 - found.value)
    return Interval(_expit(middle - reach), _expit(middle + reach))


def delong_test(truth: Truth, first: Scores, second: Scores, level: float = 0.95) -> AurocDifference | None:
    """Compare two scores of the same cases ``(N,)``; None with one class only or a score that is not finite."""
    if not usable(truth, first) or not usable(truth, second):
        return None
    components = _components(truth, first), _components(truth, second)
    value = float(components[0][0].mean() - components[1][0].mean())
    of_positives, of_negatives = (a - b for a, b in zip(*components, strict=True))
    variance = _covariance(of_positives, of_positives, of_negatives, of_negatives)
    if variance is None or variance <= 0:
        same = np.array_equal(rankdata(first), rankdata(second))
        return AurocDifference(value, Interval(0.0, 0.0) if same else None, 1.0 if same else None)
    error = math.sqrt(variance)
    z = float(ndtri((1 + level) / 2))
    return AurocDifference(value, Interval(value - z * error, value + z * error), 2 * float(ndtr(-abs(value) / error)))


def roc_curve(truth: Truth, scores: Scores) -> RocCurve | None:
    """The curve, one point a distinct score; None with one class only or a score that is not finite."""
    if not usable(truth, scores):
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(scores[order]) < 0, True])
    found = np.cumsum(truth[order])[last]
    wrong = last + 1 - found
    return RocCurve(
        np.r_[0.0, wrong / wrong[-1]], np.r_[0.0, found / found[-1]], np.r_[np.inf, scores[order][last]]
    )  # fmt: skip


def _components(truth: Truth, scores: Scores) -> tuple[Scores, Scores]:
    """For each positive case the share of negatives below it; for each negative case that of positives above it."""
    positive, negative = scores[truth], scores[~truth]
    ranks = rankdata(scores)
    below = (ranks[truth] - rankdata(positive)) / len(negative)
    above = 1 - (ranks[~truth] - rankdata(negative)) / len(positive)
    return below, above


def _covariance(a_pos: Scores, b_pos: Scores, a_neg: Scores, b_neg: Scores) -> float | None:
    if len(a_pos) < 2 or len(a_neg) < 2:
        return None
    return _sample_covariance(a_pos, b_pos) / len(a_pos) + _sample_covariance(a_neg, b_neg) / len(a_neg)


def _sample_covariance(a: Scores, b: Scores) -> float:
    return float(np.sum((a - a.mean()) * (b - b.mean())) / (len(a) - 1))


def _newcombe(found: Auroc, z: float) -> Interval:
    """Where the value lies ``z`` standard errors from an area whose error is that of exponential scores."""
    extra = (found.positives + found.negatives) / 2 - 1
    pairs = found.positives * found.negatives

    def distance(area: float) -> float:
        spread = area * (1 - area) * (1 + extra * (1 - area) / (2 - area) + extra * area / (1 + area)) / pairs
        return abs(area - found.value) - z * math.sqrt(spread)

    def bound(outside: float) -> float:
        if distance(outside) <= 0:
            return outside
        inside = found.value
        for _ in range(60):
            middle = (outside + inside) / 2
            outside, inside = (middle, inside) if distance(middle) > 0 else (outside, middle)
        return inside

    return Interval(bound(0.0), bound(1.0))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
