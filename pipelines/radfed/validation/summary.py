"""Scores of many cases as means with intervals, per site and pooled, per label and over labels.

Every case counts once (case-weighted), also in the pooled numbers; intervals draw patients within sites.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from radfed.metrics.intervals import Bootstrap, mean_interval
from radfed.metrics.policy import Outcome
from radfed.settings import Settings
from radfed.validation.results import CaseResult, Evaluation, LabelResult

Metric = Literal["dice", "hd95", "nsd"]
METRICS: tuple[Metric, ...] = ("dice", "hd95", "nsd")

LEAST_FOR_INTERVAL = 5
"""Resampling fewer patients than this gives intervals that are far too narrow, so none is given."""


class Statistic(Settings):
    """A mean over cases. ``low`` and ``high`` bound its interval; null where there are too few patients for one."""

    mean: float
    low: float | None
    high: float | None
    median: float
    cases: int
    patients: int


class Counts(Settings):
    """How many masks were of each outcome, see ``radfed.metrics.policy``."""

    compared: int
    both_empty: int
    false_positives: int
    missed: int


class Scores(Settings):
    """The three metrics over some cases; null where no case has a value. HD95 in mm."""

    dice: Statistic | None
    hd95: Statistic | None
    nsd: Statistic | None
    counts: Counts


class GroupSummary(Settings):
    """The cases of a site, or of all."""

    cases: int
    patients: int
    mean: Scores  # of each case's mean over its labels
    labels: dict[str, Scores]


class Summary(Settings):
    """An evaluation in numbers."""

    pooled: GroupSummary
    sites: dict[str, GroupSummary]


def summarise(evaluation: Evaluation, how: Bootstrap | None = None) -> Summary:
    """Summarise an evaluation per site and pooled."""
    return Summary(
        pooled=_group(evaluation.cases, how),
        sites={site: _group(evaluation.at(site), how) for site in evaluation.sites},
    )


def case_value(case: CaseResult, metric: Metric) -> float | None:
    """A case's mean of a metric over its labels that have one; None if none has."""
    values = [value for label in case.labels if (value := label_value(label, metric)) is not None]
    return sum(values) / len(values) if values else None


def label_value(result: LabelResult, metric: Metric) -> float | None:
    """A label's value as it enters means; None where the policy for empty masks leaves it out."""
    if metric == "hd95":
        return result.hd95 if result.outcome.in_distance_means else None
    if not result.outcome.in_overlap_means:
        return None
    return result.dice if metric == "dice" else result.nsd


def statistic(
    cases: Sequence[CaseResult], values: Sequence[float | None], how: Bootstrap | None = None
) -> Statistic | None:
    """Mean, interval and median of one value a case; cases without a value are left out."""
    pairs = [(case, value) for case, value in zip(cases, values, strict=True) if value is not None]
    if not pairs:
        return None
    numbers = np.array([value for _, value in pairs], dtype=np.float64)
    patients, sites = [case.patient for case, _ in pairs], [case.site for case, _ in pairs]
    enough = len(set(zip(sites, patients, strict=True))) >= LEAST_FOR_INTERVAL
    interval = mean_interval(numbers, patients, sites, how) if enough else None
    return Statistic(
        mean=float(numbers.mean()),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        median=float(np.median(numbers)),
        cases=len(pairs),
        patients=len(set(zip(sites, patients, strict=True))),
    )


def _group(cases: Sequence[CaseResult], how: Bootstrap | None) -> GroupSummary:
    names = list(dict.fromkeys(result.label for case in cases for result in case.labels))
    mean = {metric: statistic(cases, [case_value(case, metric) for case in cases], how) for metric in METRICS}
    return GroupSummary(
        cases=len(cases),
        patients=len({(case.site, case.patient) for case in cases}),
        mean=Scores(**mean, counts=count_outcomes([result for case in cases for result in case.labels])),
        labels={name: _label(cases, name, how) for name in names},
    )


def _label(cases: Sequence[CaseResult], name: str, how: Bootstrap | None) -> Scores:
    pairs = [(case, result) for case in cases for result in case.labels if result.label == name]
    owners = [case for case, _ in pairs]
    values = {m: statistic(owners, [label_value(result, m) for _, result in pairs], how) for m in METRICS}
    return Scores(**values, counts=count_outcomes([result for _, result in pairs]))


def count_outcomes(results: Sequence[LabelResult]) -> Counts:
    """How many masks were of each outcome."""
    outcomes = [result.outcome for result in results]
    return Counts(
        compared=outcomes.count(Outcome.COMPARED),
        both_empty=outcomes.count(Outcome.BOTH_EMPTY),
        false_positives=outcomes.count(Outcome.FALSE_POSITIVE),
        missed=outcomes.count(Outcome.MISSED),
    )
