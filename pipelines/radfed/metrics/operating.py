"""The threshold at which a score becomes an answer, and what the answers are worth there."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from radfed.metrics.intervals import Interval
from radfed.metrics.roc import Scores, Truth, roc_curve

Rule = Literal["youden", "sensitivity", "specificity"]


@dataclass(frozen=True)
class Confusion:
    """How many cases were called rightly and wrongly."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


def choose_threshold(truth: Truth, scores: Scores, rule: Rule, least: float = 0.9) -> float | None:
    """The threshold from which on a case is called positive.

    It lies halfway between the lowest score that is called positive and the next below.

    Args:
        truth: ``(N,)``.
        scores: ``(N,)``.
        rule: ``youden`` takes the largest sensitivity + specificity (Youden 1950), of several the most sensitive;
            ``sensitivity`` the most specific threshold with at least that sensitivity; ``specificity`` the most
            sensitive with at least that specificity.
        least: sensitivity or specificity; youden does without.

    Returns:
        None with one class only or a score that is not finite.
    """
    curve = roc_curve(truth, scores)
    if curve is None:
        return None
    sensitivity, specificity = curve.sensitivity, 1 - curve.false_positive_rate
    # A share that is meant to be met must not be missed by the last bit.
    slack = 1e-12
    if rule == "youden":
        index = sensitivity + specificity
        at = int(np.flatnonzero(index >= index.max() - slack)[-1])
    elif rule == "sensitivity":
        at = int(np.flatnonzero(sensitivity >= least - slack)[0])
    else:
        at = int(np.flatnonzero(specificity >= least - slack)[-1])
    thresholds = curve.thresholds
    if at == 0:  # none is called positive
        return float(np.nextafter(thresholds[1], np.inf))
    if at == len(thresholds) - 1:  # all are
        return float(thresholds[at])
    middle = float(thresholds[at] + thresholds[at + 1]) / 2
    return middle if middle > thresholds[at + 1] else float(thresholds[at])


def confusion(truth: Truth, called: Truth) -> Confusion:
    """Count the answers.

    Raises:
        ValueError: ``truth`` and ``called`` are not equally long vectors.
    """
    if truth.ndim != 1 or truth.shape != called.shape:
        raise ValueError(f"truth and called must be equally long vectors, got {truth.shape} and {called.shape}")
    return Confusion(
        true_positives=int(np.count_nonzero(truth & called)),
        false_positives=int(np.count_nonzero(~truth & called)),
        true_negatives=int(np.count_nonzero(~truth & ~called)),
        false_negatives=int(np.count_nonzero(truth & ~called)),
    )


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval | None:
    """Score interval of a share (Wilson 1927); None of no trials.

    Raises:
        ValueError: there are fewer than 0 successes, or more than trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be from 0 to the number of trials {trials}, got {successes}")
    if trials == 0:
        return None
    z = float(ndtri((1 + level) / 2))
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    low = 0.0 if successes == 0 else max(0.0, middle - reach)
    high = 1.0 if successes == trials else min(1.0, middle + reach)
    return Interval(low, high)
