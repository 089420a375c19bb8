"""Agreement of volumes: mean difference and 95% limits of agreement (Bland and Altman 1986, 1999)."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from radfed.metrics.intervals import Bootstrap, Interval, interval_of
from radfed.metrics.policy import Outcome
from radfed.settings import Settings
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.summary import LEAST_FOR_INTERVAL

REACH = 1.96
"""Standard deviations from the mean difference to a limit of agreement."""

Bounds = tuple[float, float]


class Agreement(Settings):
    """Prediction minus reference over cases (ml); the limits are null with fewer than three cases.

    The intervals are null with fewer than five patients.
    """

    bias_ml: float
    low_ml: float | None
    high_ml: float | None
    deviation_ml: float | None
    bias_interval_ml: Bounds | None
    low_interval_ml: Bounds | None
    high_interval_ml: Bounds | None
    mean_reference_ml: float
    cases: int
    patients: int


def volume_pairs(evaluation: Evaluation, label: str) -> tuple[list[CaseResult], list[float], list[float]]:
    """Case, reference volume and predicted volume (ml); where both masks are empty the case is left out."""
    found = [
        (case, result.reference_ml, result.prediction_ml)
        for case in evaluation.cases
        for result in case.labels
        if result.label == label and result.outcome is not Outcome.BOTH_EMPTY
    ]
    return [case for case, _, _ in found], [ref for _, ref, _ in found], [pred for _, _, pred in found]


def agreement(evaluation: Evaluation, label: str, how: Bootstrap | None = None) -> Agreement | None:
    """How far predicted volumes lie from the reference; None where no case has one."""
    cases, reference, prediction = volume_pairs(evaluation, label)
    if not reference:
        return None
    difference = np.array(prediction) - np.array(reference)
    bias = float(difference.mean())
    deviation = float(difference.std(ddof=1)) if len(difference) > 2 else None
    reach = REACH * deviation if deviation is not None else None
    patients, sites = [case.patient for case in cases], [case.site for case in cases]
    several = len(set(zip(sites, patients, strict=True)))
    intervals: Sequence[Bounds | None] = (None, None, None)
    if several >= LEAST_FOR_INTERVAL and deviation is not None:
        if several < len(cases):
            intervals = _resampled(difference, patients, sites, how or Bootstrap())
        else:
            intervals = _normal(bias, deviation, len(difference), (how or Bootstrap()).level)
    return Agreement(
        bias_ml=bias,
        low_ml=bias - reach if reach is not None else None,
        high_ml=bias + reach if reach is not None else None,
        deviation_ml=deviation,
        bias_interval_ml=intervals[0],
        low_interval_ml=intervals[1],
        high_interval_ml=intervals[2],
        mean_reference_ml=float(np.mean(reference)),
        cases=len(difference),
        patients=several,
    )


def _normal(bias: float, deviation: float, cases: int, level: float) -> list[Bounds]:
    """Bland and Altman 1999, section 2: of normal differences, one a patient."""
    quantile = float(stdtrit(cases - 1, (1 + level) / 2))
    half = quantile * deviation / math.sqrt(cases)
    # Variance of a limit: that of the mean, and that of a standard deviation taken REACH times.
    wide = quantile * deviation * math.sqrt(1 / cases + REACH**2 / (2 * (cases - 1)))
    low, high = bias - REACH * deviation, bias + REACH * deviation
    return [(bias - half, bias + half), (low - wide, low + wide), (high - wide, high + wide)]


def _resampled(
    difference: NDArray[np.float64], patients: Sequence[Hashable], sites: Sequence[Hashable], how: Bootstrap
) -> list[Bounds | None]:
    """Where a patient has several cases: the bootstrap by patient within site."""
    centred = difference - difference.mean()

    def limit(reach: float, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights.sum(axis=1)
        mean = weights @ centred / total
        spread = np.maximum(weights @ centred**2 / total - mean**2, 0.0) * total / (total - 1)
        return np.asarray(difference.mean() + mean + reach * np.sqrt(spread), dtype=np.float64)

    return [
        _bounds(interval_of(lambda w, r=reach: limit(r, w), patients, sites, how))  # type: ignore[misc] # mypy cannot infer a lambda's default
        for reach in (0.0, -REACH, REACH)
    ]


def _bounds(found: Interval | None) -> Bounds | None:
    return (found.low, found.high) if found is not None else None
