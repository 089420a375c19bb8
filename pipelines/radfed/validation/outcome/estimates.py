"""Numbers of a cohort with the interval that fits each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.intervals import Bootstrap, Interval, Statistic, interval_of, mean_interval
from radfed.metrics.operating import wilson
from radfed.metrics.roc import auroc_interval, delong, weighted_auroc
from radfed.settings import Settings
from radfed.validation.outcome.cohort import Cohort, Question
from radfed.validation.summary import LEAST_FOR_INTERVAL


class Estimate(Settings):
    """A number with its interval; ``low`` and ``high`` are null where no interval can be given."""

    value: float
    low: float | None = None
    high: float | None = None


def estimate(value: float | None, interval: Interval | None) -> Estimate | None:
    """A number with its interval, if there is one; None without a number."""
    if value is None or not np.isfinite(value):
        return None
    return Estimate(
        value=float(value), low=interval.low if interval else None, high=interval.high if interval else None
    )


def of_statistic(statistic: Statistic, cohort: Cohort, how: Bootstrap) -> Estimate | None:
    """A statistic of all cases, with its bootstrap interval where there are patients enough."""
    value = float(statistic(np.ones((1, cohort.size)))[0])
    enough = cohort.patient_count >= LEAST_FOR_INTERVAL
    return estimate(value, interval_of(statistic, cohort.patients, cohort.sites, how) if enough else None)


def of_mean(values: NDArray[np.float64], cohort: Cohort, how: Bootstrap) -> Estimate | None:
    """Mean of one value a case, with its bootstrap interval where there are patients enough."""
    if not len(values):
        return None
    enough = cohort.patient_count >= LEAST_FOR_INTERVAL
    return estimate(float(values.mean()), mean_interval(values, cohort.patients, cohort.sites, how) if enough else None)


def of_accuracy(cohort: Cohort, how: Bootstrap) -> Estimate | None:
    """Share of right answers by the likeliest class, or by findings at a half."""
    right = cohort.right()
    if cohort.kind == "multiclass" and not cohort.clustered:
        return estimate(float(right.mean()), wilson(int(right.sum()), len(right), how.level))
    return of_mean(right, cohort, how)


def of_auroc(question: Question, cohort: Cohort, how: Bootstrap) -> Estimate | None:
    """Area of one question: DeLong's interval, or of several cases a patient the bootstrap's."""
    found = delong(question.truth, question.scores)
    if found is None:
        return None
    if cohort.clustered:
        return of_statistic(lambda w: weighted_auroc(question.truth, question.scores, w), cohort, how)
    return estimate(found.value, auroc_interval(found, how.level))


def macro(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several statistics."""

    def mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.mean([statistic(weights) for statistic in statistics], axis=0), dtype=np.float64)

    return mean


def auroc_statistics(questions: Sequence[Question]) -> list[Statistic]:
    """The areas of the questions to which both answers occur."""
    return [
        lambda w, q=q: weighted_auroc(q.truth, q.scores, w)  # type: ignore[misc] # mypy cannot infer a lambda's default
        for q in questions
        if q.truth.any() and not q.truth.all()
    ]


def of_share(right: NDArray[np.bool_], of: NDArray[np.bool_], cohort: Cohort, how: Bootstrap) -> Estimate | None:
    """The share of some cases that are right; None of no case."""
    total, successes = int(of.sum()), int((right & of).sum())
    if total == 0:
        return None
    if not cohort.clustered:
        return estimate(successes / total, wilson(successes, total, how.level))
    chosen = np.flatnonzero(of)
    patients, sites = [cohort.patients[i] for i in chosen], [cohort.sites[i] for i in chosen]
    enough = len(set(zip(sites, patients, strict=True))) >= LEAST_FOR_INTERVAL
    values = right[of].astype(np.float64)
    return estimate(successes / total, mean_interval(values, patients, sites, how) if enough else None)
