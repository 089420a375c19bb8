"""One model beside others on the same cases, with paired differences: of areas by DeLong's test."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from radfed.files import put_text
from radfed.metrics.intervals import Bootstrap, Statistic
from radfed.metrics.roc import delong_test
from radfed.metrics.survival import weighted_concordance
from radfed.settings import Settings
from radfed.validation.outcome.cohort import Cohort, Question, cohort_of
from radfed.validation.outcome.estimates import (
    Estimate,
    auroc_statistics,
    estimate,
    macro,
    of_accuracy,
    of_auroc,
    of_mean,
    of_statistic,
)
from radfed.validation.outcome.results import OutcomeCase, OutcomeEvaluation
from radfed.validation.results import read_as

OutcomeMetric = Literal["auroc", "accuracy", "brier", "concordance"]


class OutcomeRow(Settings):
    """A model on the cases of a site, or of all: its score, and how much larger that of the model of interest is."""

    model: str
    site: str | None = Field(description="Null for all sites together")
    metric: OutcomeMetric
    cases: int
    patients: int
    score: Estimate
    difference: Estimate | None = Field(
        default=None, description="Model of interest minus this one; null for the model of interest itself"
    )
    p: float | None = Field(default=None, description="Two-sided, DeLong's test of equal areas; null for other metrics")


class _OutcomeComparison(Settings):
    rows: tuple[OutcomeRow, ...]


def compare_outcomes(
    evaluation: OutcomeEvaluation, others: Mapping[str, OutcomeEvaluation], how: Bootstrap | None = None
) -> tuple[OutcomeRow, ...]:
    """Set a model beside others, on each site's cases and on all.

    Cases are paired by site and pseudonym; one that only one of two models answered is left out of that pair.

    Args:
        evaluation: the model of interest.
        others: name of the model to its evaluation.
        how: how intervals are made.
    """
    how = how or Bootstrap()
    rows: list[OutcomeRow] = []
    for site in (None, *evaluation.sites):
        mine = {(c.site, c.case): c for c in (evaluation.cases if site is None else evaluation.at(site))}
        own = _cohort(list(mine.values()), evaluation)
        rows += [
            OutcomeRow(
                model=evaluation.model,
                site=site,
                metric=metric,
                cases=own.size,
                patients=own.patient_count,
                score=score,
            )
            for metric, score in scores_of(own, evaluation, how).items()
        ]
        for name, other in others.items():
            theirs = [case for case in other.cases if (case.site, case.case) in mine]
            if theirs:
                pair = _cohort([mine[c.site, c.case] for c in theirs], evaluation), _cohort(theirs, evaluation)
                rows += _against(name, site, *pair, evaluation, how)
    return tuple(rows)


def dump_outcome_comparison(rows: Sequence[OutcomeRow], path: Path) -> None:
    """Write a comparison as JSON. It holds numbers over groups only, no case, and may travel in a release."""
    put_text(path, _OutcomeComparison(rows=tuple(rows)).model_dump_json(indent=1) + "\n")


def load_outcome_comparison(path: Path) -> tuple[OutcomeRow, ...]:
    """Read what ``dump_outcome_comparison`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or is no comparison.
    """
    return read_as(_OutcomeComparison, path).rows


def _cohort(cases: Sequence[OutcomeCase], evaluation: OutcomeEvaluation) -> Cohort:
    return cohort_of(cases, evaluation.kind, evaluation.finds)


def scores_of(cohort: Cohort, evaluation: OutcomeEvaluation, how: Bootstrap) -> dict[OutcomeMetric, Estimate]:
    """The metrics that some cases can show."""
    found: dict[OutcomeMetric, Estimate | None]
    if cohort.kind == "survival":
        found = {"concordance": of_statistic(_concordance(cohort), cohort, how)}
    else:
        found = {
            "auroc": _area(cohort, evaluation, how),
            "accuracy": of_accuracy(cohort, how),
            "brier": of_mean(cohort.brier(), cohort, how),
        }
    return {metric: score for metric, score in found.items() if score is not None}


def _against(
    name: str, site: str | None, mine: Cohort, theirs: Cohort, evaluation: OutcomeEvaluation, how: Bootstrap
) -> list[OutcomeRow]:
    gains: dict[OutcomeMetric, tuple[Estimate | None, float | None]]
    if mine.kind == "survival":
        gains = {"concordance": (_gain(_concordance(mine), _concordance(theirs), mine, how), None)}
    else:
        gains = {
            "auroc": _area_gain(mine, theirs, evaluation, how),
            "accuracy": (of_mean(mine.right() - theirs.right(), mine, how), None),
            "brier": (of_mean(mine.brier() - theirs.brier(), mine, how), None),
        }
    return [
        OutcomeRow(
            model=name, site=site, metric=metric, cases=theirs.size, patients=theirs.patient_count, score=score,
            difference=gains[metric][0], p=gains[metric][1],
        )
        for metric, score in scores_of(theirs, evaluation, how).items()
    ]  # fmt: skip


def _area(cohort: Cohort, evaluation: OutcomeEvaluation, how: Bootstrap) -> Estimate | None:
    asked = cohort.questions(evaluation.operating)
    if len(asked) == 1:
        return of_auroc(asked[0], cohort, how)
    areas = auroc_statistics(asked)
    return of_statistic(macro(areas), cohort, how) if areas else None


def _area_gain(
    mine: Cohort, theirs: Cohort, evaluation: OutcomeEvaluation, how: Bootstrap
) -> tuple[Estimate | None, float | None]:
    """Difference of areas and the test's p: DeLong's for one question and one case a patient, else the bootstrap."""
    first, second = mine.questions(evaluation.operating), theirs.questions(evaluation.operating)
    if len(first) == 1 and not mine.clustered:
        return _delong(first[0], second[0], how)
    areas = auroc_statistics(first), auroc_statistics(second)
    return (_gain(macro(areas[0]), macro(areas[1]), mine, how), None) if areas[0] else (None, None)


def _delong(first: Question, second: Question, how: Bootstrap) -> tuple[Estimate | None, float | None]:
    found = delong_test(first.truth, first.scores, second.scores, how.level)
    return (estimate(found.value, found.interval), found.p) if found else (None, None)


def _gain(mine: Statistic, theirs: Statistic, cohort: Cohort, how: Bootstrap) -> Estimate | None:
    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return mine(weights) - theirs(weights)

    return of_statistic(difference, cohort, how)


def _concordance(cohort: Cohort) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda weights: weighted_concordance(cohort.times, cohort.events, cohort.scores[:, 0], weights)
