"""Decision curves: for which weighing of missed cases and needless actions the model is worth asking."""

from collections.abc import Sequence

import numpy as np

from radfed.metrics.intervals import Bootstrap
from radfed.metrics.net_benefit import net_benefit_statistic, treat_all
from radfed.settings import Settings
from radfed.validation.outcome.cohort import Cohort, Question, cohort_of
from radfed.validation.outcome.estimates import Estimate, of_statistic
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.summary import OutcomeSummary
from radfed.validation.outcome.travelling import travelling_question

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of the table; the curve is drawn in hundredths."""


class DecisionPoint(Settings):
    """Net benefit per case of acting from a probability on, and of acting on every case; of acting on none it is 0."""

    threshold: float
    model: Estimate
    treat_all: float


class DecisionCurve(Settings):
    """Of one class or finding, on all sites' cases."""

    positives: int
    cases: int
    points: tuple[DecisionPoint, ...]


def decision_questions(evaluation: OutcomeEvaluation, summary: OutcomeSummary, travels: bool) -> list[Question]:
    """The questions that a decision curve is drawn of; in a report that travels, in runs of enough patients.

    A net benefit tells how many cases are positive, so a question is left out if that is not told.
    """
    if evaluation.kind == "survival":
        return []
    cohort = cohort_of(evaluation.cases, evaluation.kind, evaluation.finds)
    asked = [one for one in cohort.questions(evaluation.operating) if one.truth.any() and not one.truth.all()]
    if not travels:
        return asked
    found = []
    for question in asked:
        pooled = summary.pooled.questions[question.name]
        told = pooled.answers.true_positives is not None
        coarse = travelling_question(question, cohort, told) if pooled.positives is not None else None
        if coarse is not None:
            found.append(coarse)
    return found


def decision_curves(
    evaluation: OutcomeEvaluation, questions: Sequence[Question], how: Bootstrap | None = None
) -> dict[str, DecisionCurve]:
    """Net benefit at ``THRESHOLDS`` with intervals, by question."""
    cohort = cohort_of(evaluation.cases, evaluation.kind, evaluation.finds)
    return {question.name: _curve(question, cohort, how or Bootstrap()) for question in questions}


def _curve(question: Question, cohort: Cohort, how: Bootstrap) -> DecisionCurve:
    everyone = treat_all(question.truth, THRESHOLDS)
    points = []
    for threshold, value in zip(THRESHOLDS, everyone, strict=True):
        found = of_statistic(net_benefit_statistic(question.truth, question.scores, threshold), cohort, how)
        assert found is not None  # a mean over cases that are there
        points.append(DecisionPoint(threshold=threshold, model=found, treat_all=float(value)))
    return DecisionCurve(
        positives=int(np.count_nonzero(question.truth)), cases=len(question.truth), points=tuple(points)
    )
