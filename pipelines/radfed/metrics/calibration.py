"""Whether probabilities mean what they say: of cases given 0.3, three in ten should be positive.

Slope and intercept by logistic recalibration (Cox 1958), read as in Van Calster et al. 2016: a slope below 1 means
answers that are too extreme, an intercept above 0 probabilities that are too low on the whole.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from radfed.metrics.roc import Scores, Truth, usable

BINS = 10
_EDGE = 1e-7
"""Nearest to 0 and 1 that a probability is taken to lie: what float32 can still tell from 1."""
_STEPS, _ENOUGH = 100, 1e-10


@dataclass(frozen=True)
class Reliability:
    """Cases in bins of about equally many, ordered by probability; empty bins are left out. Each ``(K,)``.

    Attributes:
        predicted: mean probability.
        observed: share of positive cases.
        cases: how many.
    """

    predicted: Scores
    observed: Scores
    cases: NDArray[np.int64]


@dataclass(frozen=True)
class Recalibration:
    """The logistic fit of outcomes on the logit of probabilities.

    Attributes:
        slope: 1 is ideal.
        intercept: with the slope held at 1 (calibration in the large); 0 is ideal.
    """

    slope: float
    intercept: float


def brier_scores(truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared error of each case, 0 to 1 (Brier 1950, scaled).

    Args:
        truth: ``(N, K)``: one class of several, or several findings each.
        probabilities: ``(N, K)``. With ``K`` classes that exclude each other see ``brier_of_classes``.

    Returns:
        ``(N,)``, the mean over findings.
    """
    return np.asarray(((probabilities - truth) ** 2).mean(axis=1), dtype=np.float64)


def brier_of_classes(truth: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the sum of squared errors over classes ``(N, K)`` that exclude each other: ``(N,)``, 0 to 1.

    With two classes that is the squared error of the second one's probability.
    """
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1) / 2, dtype=np.float64)


def reliability(truth: Truth, probabilities: Scores, bins: int = BINS) -> Reliability | None:
    """Bins between quantiles of the probabilities; None without cases or with a probability that is not finite."""
    if len(truth) == 0 or not np.isfinite(probabilities).all():
        return None
    edges = np.percentile(probabilities, np.linspace(0, 100, bins + 1))
    place = np.searchsorted(edges[1:-1], probabilities)
    cases = np.bincount(place, minlength=bins)
    filled = cases > 0
    predicted = np.bincount(place, probabilities, minlength=bins)[filled] / cases[filled]
    observed = np.bincount(place, truth, minlength=bins)[filled] / cases[filled]
    return Reliability(predicted, observed, cases[filled])


def expected_calibration_error(found: Reliability) -> float:
    """Mean distance of predicted and observed over bins, weighted by their cases: 0 is ideal."""
    return float(np.average(np.abs(found.predicted - found.observed), weights=found.cases))


def recalibrate(truth: Truth, probabilities: Scores) -> Recalibration | None:
    """Fit slope and intercept.

    Returns:
        None with one class only, a probability that is not finite, probabilities all equal, or classes that a
        threshold tells apart without a mistake: then the slope has no bound.
    """
    if not usable(truth, probabilities):
        return None
    positive, negative = probabilities[truth], probabilities[~truth]
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return None
    line = logit(np.clip(probabilities, _EDGE, 1 - _EDGE))
    spread = float(line.std())
    if spread < 1e-9:
        return None
    both = _fit(truth, np.stack([np.ones_like(line), line / spread], axis=1), np.zeros_like(line))
    shift = _fit(truth, np.ones((len(line), 1)), line)
    if both is None or shift is None:
        return None
    return Recalibration(float(both[1]) / spread, float(shift[0]))


def _fit(truth: Truth, design: NDArray[np.float64], offset: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Logistic regression by Newton steps, each halved until it helps; None where it does not settle."""
    weights = np.zeros(design.shape[1])

    def loss(tried: NDArray[np.float64]) -> float:
        line = design @ tried + offset
        return float(np.sum(np.logaddexp(0, line) - truth * line))

    now = loss(weights)
    for _ in range(_STEPS):
        chance = expit(design @ weights + offset)
        curvature = design.T @ (design * (chance * (1 - chance))[:, None])
        try:
            step = np.linalg.solve(curvature, design.T @ (truth - chance))
        except np.linalg.LinAlgError:
            return None
        while loss(weights + step) > now + 1e-12 and np.abs(step).max() > _ENOUGH:
            step = step / 2
        weights = weights + step
        now = loss(weights)
        if np.abs(step).max() <= _ENOUGH:
            return weights
    return None
