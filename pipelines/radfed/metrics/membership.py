"""How well a number tells the patients a model was trained on from others: what a membership attack is worth.

A score is one number a patient, higher for those who look trained on. Sites are never compared with each other: a pair
is a member and a non-member of one site, and each site has its own threshold, so that a difference between hospitals is
not taken for membership. True-positive rate at a low false-positive rate after Carlini et al. 2022 (IEEE S&P).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv
from scipy.stats import nhypergeom

from radfed.metrics.intervals import Interval
from radfed.metrics.roc import Auroc, Scores, delong
from radfed.metrics.small_cells import LEAST_PATIENTS, in_runs


@dataclass(frozen=True)
class Group:
    """The patients of one site, and how many non-members a threshold may wrongly name.

    Attributes:
        members: patients of the training split.
        others: patients that were not trained on.
        allowed: false positives; of fewer than 100 others a rate of 1 % allows none.
    """

    members: int
    others: int
    allowed: int


def allowed_of(others: int, rate: float) -> int:
    """How many of the non-members may be named wrongly at a false-positive rate."""
    return math.floor(rate * others + 1e-9)


def area_of(members: Scores, others: Scores) -> Auroc | None:
    """The attack's area under the ROC curve with DeLong's variance; None without patients of both kinds."""
    truth = np.r_[np.ones(len(members), bool), np.zeros(len(others), bool)]
    return delong(truth, np.concatenate([members, others]))


def pooled_area(areas: Sequence[Auroc]) -> Auroc:
    """The share of pairs within a site that the score orders rightly, over all sites' pairs.

    Sites are independent, so the variance is the sum of theirs with squared weights.
    """
    pairs = [area.positives * area.negatives for area in areas]
    shares = [count / sum(pairs) for count in pairs]
    variances = [area.variance for area in areas]
    known = [share**2 * variance for share, variance in zip(shares, variances, strict=True) if variance is not None]
    return Auroc(
        sum(share * area.value for share, area in zip(shares, areas, strict=True)),
        sum(known) if len(known) == len(areas) else None,
        sum(area.positives for area in areas),
        sum(area.negatives for area in areas),
    )


def hits_of(members: Scores, others: Scores, allowed: int) -> int:
    """How many members score above all but ``allowed`` of the non-members; a tie is no hit."""
    threshold = np.sort(others)[::-1][allowed]
    return int(np.count_nonzero(members > threshold))


def by_chance(groups: Sequence[Group]) -> Scores:
    """Probability ``(members + 1,)`` of each number of hits if membership were drawn by lot at every site.

    Members above the threshold are those that come before the non-member after the last allowed one in a random order:
    negative hypergeometric at one site, their convolution over several. It says what a threshold that few non-members
    set finds by itself: of ``m`` members and ``n`` others, ``m / (n + 1)`` at no false positive.
    """
    total = np.ones(1)
    for group in groups:
        counts = np.arange(group.members + 1)
        law = nhypergeom(group.members + group.others, group.members, group.allowed + 1)
        total = np.convolve(total, law.pmf(counts))
    return total


def share_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Exact interval of a share (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low = betaincinv(successes, trials - successes + 1, tail) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - tail) if successes < trials else 1.0
    return Interval(float(low), float(high))


def tellable_hits(hits: int, members: int) -> tuple[int, bool]:
    """A number of patients that may travel, and whether the true one is at most that: one or two are told as more.

    It is the attack's success that is told, so it is rounded to the worse.
    """
    if 0 < hits < LEAST_PATIENTS:
        return LEAST_PATIENTS - 1, True
    if 0 < members - hits < LEAST_PATIENTS:
        return members, True
    return hits, False


def runs_of(members: Scores, others: Scores) -> tuple[tuple[int, int], ...]:
    """Members and others in runs of falling score, each none or enough to be told: a ROC curve that may travel."""
    scores = np.concatenate([members, others])
    truth = np.r_[np.ones(len(members), bool), np.zeros(len(others), bool)]
    told = in_runs(scores, truth, np.arange(len(scores)))
    if told is None:
        return ()
    levels, place = np.unique(-told, return_inverse=True)
    count = len(levels)
    found = np.bincount(place[truth], minlength=count), np.bincount(place[~truth], minlength=count)
    return tuple((int(a), int(b)) for a, b in zip(*found, strict=True))


def curve_of(runs: Sequence[Sequence[tuple[int, int]]], rates: Scores) -> Scores:
    """Sensitivity ``(T,)`` at false-positive rates ``(T,)``: of each site at its own threshold, weighted by members."""
    total, members = np.zeros(len(rates)), 0
    for site in runs:
        counts = np.array([(0, 0), *site], dtype=np.float64).cumsum(axis=0)
        # Where a step is upright, the highest point counts.
        last = np.flatnonzero(np.r_[np.diff(counts[:, 1]) > 0, True])
        found = np.interp(rates, counts[last, 1] / counts[-1, 1], counts[last, 0])
        total, members = total + found, members + int(counts[-1, 0])
    return total / members
