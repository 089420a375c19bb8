"""Answers in numbers, per site and pooled.

Intervals: of areas DeLong's, of shares Wilson's. Where several cases belong to one patient those would be too narrow,
and all intervals, as those of average precision, Brier score and concordance always, draw patients within sites.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from radfed.metrics.calibration import expected_calibration_error, recalibrate, reliability
from radfed.metrics.intervals import Bootstrap, Statistic
from radfed.metrics.operating import confusion
from radfed.metrics.precision import average_precision, weighted_average_precision
from radfed.metrics.survival import concordance, weighted_concordance
from radfed.settings import Settings
from radfed.validation.outcome.cohort import Cohort, Question, cohort_of
from radfed.validation.outcome.estimates import (
    Estimate,
    auroc_statistics,
    macro,
    of_accuracy,
    of_auroc,
    of_mean,
    of_share,
    of_statistic,
)
from radfed.validation.outcome.results import OperatingPoints, OutcomeCase, OutcomeEvaluation

LEAST_FOR_CALIBRATION = 20
"""Fewer cases than this say nothing about calibration; with twice as many there are several bins."""


class AtThreshold(Settings):
    """How often the answers are right at the operating point. A share is null where no case could show it.

    Counts are null where they are too small to travel, see ``radfed.validation.outcome.travelling``.
    """

    threshold: float | None = None  # of more than two classes the likeliest is the answer
    true_positives: int | None = None
    false_positives: int | None = None
    true_negatives: int | None = None
    false_negatives: int | None = None
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    positive_predictive_value: Estimate | None = None
    negative_predictive_value: Estimate | None = None


class Calibration(Settings):
    """Whether probabilities mean what they say; slope 1, intercept 0 and error 0 are ideal."""

    error: float  # expected calibration error
    slope: float | None
    intercept: float | None


class QuestionScores(Settings):
    """One class against the others, or one finding. Areas are null where only one answer occurs."""

    positives: int | None
    negatives: int | None
    auroc: Estimate | None
    average_precision: Estimate | None
    answers: AtThreshold
    calibration: Calibration | None


class EventScores(Settings):
    """How well hazards order events."""

    events: int | None
    pairs: int | None
    concordance: Estimate | None


class OutcomeGroup(Settings):
    """The cases of a site, or of all."""

    cases: int
    patients: int
    auroc: Estimate | None = None  # of the one question, or the mean over questions
    average_precision: Estimate | None = None
    accuracy: Estimate | None = None
    brier: Estimate | None = None
    questions: dict[str, QuestionScores] = Field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()  # of classes: truth in rows, answers in columns
    survival: EventScores | None = None


class OutcomeSummary(Settings):
    """An evaluation in numbers."""

    kind: str
    finds: tuple[str, ...]
    operating: OperatingPoints
    pooled: OutcomeGroup
    sites: dict[str, OutcomeGroup]


def summarise_outcomes(evaluation: OutcomeEvaluation, how: Bootstrap | None = None) -> OutcomeSummary:
    """Summarise an evaluation per site and pooled."""
    return OutcomeSummary(
        kind=evaluation.kind,
        finds=evaluation.finds,
        operating=evaluation.operating,
        pooled=_group(evaluation.cases, evaluation, how or Bootstrap()),
        sites={site: _group(evaluation.at(site), evaluation, how or Bootstrap()) for site in evaluation.sites},
    )


def _group(cases: Sequence[OutcomeCase], evaluation: OutcomeEvaluation, how: Bootstrap) -> OutcomeGroup:
    cohort = cohort_of(cases, evaluation.kind, evaluation.finds)
    counts = {"cases": cohort.size, "patients": cohort.patient_count}
    if cohort.kind == "survival":
        return OutcomeGroup(**counts, survival=_survival(cohort, how))
    asked = cohort.questions(evaluation.operating)
    scores = {
        question.name: _question(question, cohort, evaluation.operating.thresholds.get(question.name), how)
        for question in asked
    }
    if len(asked) == 1:
        area, precision = scores[asked[0].name].auroc, scores[asked[0].name].average_precision
    else:
        area, precision = _macros(asked, cohort, how)
    return OutcomeGroup(
        **counts,
        auroc=area,
        average_precision=precision,
        accuracy=of_accuracy(cohort, how),
        brier=of_mean(cohort.brier(), cohort, how),
        questions=scores,
        confusion=_matrix(cohort, asked) if cohort.kind == "multiclass" else (),
    )


def _macros(asked: Sequence[Question], cohort: Cohort, how: Bootstrap) -> tuple[Estimate | None, Estimate | None]:
    areas = auroc_statistics(asked)
    precisions: list[Statistic] = [
        lambda w, q=q: weighted_average_precision(q.truth, q.scores, w)  # type: ignore[misc] # as above
        for q in asked
        if q.truth.any() and not q.truth.all()
    ]
    if not areas:
        return None, None
    return of_statistic(macro(areas), cohort, how), of_statistic(macro(precisions), cohort, how)


def _question(question: Question, cohort: Cohort, threshold: float | None, how: Bootstrap) -> QuestionScores:
    truth, scores = question.truth, question.scores
    precise = None
    if average_precision(truth, scores) is not None:
        precise = of_statistic(lambda w: weighted_average_precision(truth, scores, w), cohort, how)
    return QuestionScores(
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
        auroc=of_auroc(question, cohort, how),
        average_precision=precise,
        answers=_answers(question, cohort, threshold, how),
        calibration=_calibration(truth, scores),
    )


def _answers(question: Question, cohort: Cohort, threshold: float | None, how: Bootstrap) -> AtThreshold:
    truth, called = question.truth, question.called
    counts = confusion(truth, called)
    return AtThreshold(
        threshold=threshold,
        true_positives=counts.true_positives,
        false_positives=counts.false_positives,
        true_negatives=counts.true_negatives,
        false_negatives=counts.false_negatives,
        sensitivity=of_share(called, truth, cohort, how),
        specificity=of_share(~called, ~truth, cohort, how),
        positive_predictive_value=of_share(truth, called, cohort, how),
        negative_predictive_value=of_share(~truth, ~called, cohort, how),
    )


def _calibration(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> Calibration | None:
    found = reliability(truth, scores, bins_for(len(truth)))
    if found is None or len(truth) < LEAST_FOR_CALIBRATION:
        return None
    fit = recalibrate(truth, scores)
    return Calibration(
        error=expected_calibration_error(found),
        slope=fit.slope if fit else None,
        intercept=fit.intercept if fit else None,
    )


def bins_for(cases: int) -> int:
    """At most ten bins, and ten cases in each."""
    return max(1, min(10, cases // 10))


def _matrix(cohort: Cohort, asked: Sequence[Question]) -> tuple[tuple[int, ...], ...]:
    """Truth in rows, answers in columns; of two classes the answers at the operating point."""
    classes = len(cohort.finds)
    answers = asked[0].called.astype(np.intp) if classes == 2 else cohort.likeliest
    counts = np.bincount(cohort.truth.argmax(axis=1) * classes + answers, minlength=classes**2)
    return tuple(tuple(int(count) for count in row) for row in counts.reshape(classes, classes))


def _survival(cohort: Cohort, how: Bootstrap) -> EventScores:
    hazards = cohort.scores[:, 0]
    found = concordance(cohort.times, cohort.events, hazards)
    value = None
    if found is not None:
        value = of_statistic(lambda w: weighted_concordance(cohort.times, cohort.events, hazards, w), cohort, how)
    return EventScores(events=int(cohort.events.sum()), pairs=found.comparable if found else 0, concordance=value)
