"""The numbers that may travel: none of them is of one or two patients, nor is a difference between them.

Counts, and shares from which counts follow, are told of every site and of all together, or of all together only: if one
site's were left out, its numbers would be what is missing from the sum. The sites that are not shown by themselves
count as one. An area says nothing of how many cases there are; it is told wherever both answers have enough patients.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.small_cells import in_runs, tellable
from radfed.validation.outcome.cohort import Cohort, Question, cohort_of
from radfed.validation.outcome.comparison import OutcomeRow
from radfed.validation.outcome.results import OutcomeEvaluation, has_thresholds
from radfed.validation.outcome.summary import AtThreshold, EventScores, OutcomeGroup, OutcomeSummary, QuestionScores

Table = Sequence[NDArray[np.bool_]]
"""The cases in each cell ``(N,)``."""

RIGHT, EVENTS = "right", "events"


def travelling_summary(summary: OutcomeSummary, evaluation: OutcomeEvaluation, hidden: Sequence[str]) -> OutcomeSummary:
    """A summary without small numbers; what is not told is null, or empty.

    Args:
        summary: of the evaluation.
        evaluation: the answers.
        hidden: the sites that are not shown by themselves.
    """
    shown = [site for site in summary.sites if site not in hidden]
    cohorts = {site: _cohort(evaluation, [site]) for site in shown}
    whole = _cohort(evaluation, evaluation.sites)
    places = [*cohorts.values(), *([_cohort(evaluation, hidden)] if hidden else [])]
    of_all = _told(whole, evaluation)
    of_places = [_told(place, evaluation) for place in places]
    everywhere = {name: all(told[name] for told in of_places) for name in of_all}
    return summary.model_copy(
        update={
            "pooled": _group(summary.pooled, whole, evaluation, of_all),
            "sites": {site: _group(summary.sites[site], cohorts[site], evaluation, everywhere) for site in shown},
        }
    )


def travelling_rows(
    rows: Sequence[OutcomeRow], summary: OutcomeSummary, hidden: Sequence[str]
) -> tuple[OutcomeRow, ...]:
    """A comparison without small numbers.

    Accuracies are left out, as no table says whether their errors are too few to be told. So is a model that answered
    other cases than the model of interest somewhere, and an area where the model of interest has none to tell.

    Args:
        rows: the comparison.
        summary: of the model of interest, as it may travel.
        hidden: the sites that are not shown by themselves.
    """
    counts = {(None, summary.pooled.cases), *((site, group.cases) for site, group in summary.sites.items())}
    same = {row.model for row in rows} - {
        row.model for row in rows if row.site not in hidden and (row.site, row.cases) not in counts
    }
    return tuple(
        row
        for row in rows
        if row.model in same
        and row.site not in hidden
        and row.metric != "accuracy"
        and (row.metric == "brier" or _area(summary.pooled if row.site is None else summary.sites[row.site]))
    )


def travelling_question(asked: Question, cohort: Cohort, told: bool) -> Question | None:
    """A question's answers for curves: in runs of enough patients, which end where the operating point is.

    Args:
        asked: the question.
        cohort: whose cases it was asked of.
        told: whether the counts at the operating point are.

    Returns:
        None if there are too few patients with one of the answers.
    """
    if not tellable((asked.truth, ~asked.truth), cohort.numbers):
        return None
    parted = (asked.called, ~asked.called) if told and has_thresholds(cohort.kind, cohort.finds) else ()
    scores = in_runs(asked.scores, asked.truth, cohort.numbers, parted)
    return None if scores is None else Question(asked.name, asked.truth, scores, asked.called)


def _cohort(evaluation: OutcomeEvaluation, sites: Sequence[str]) -> Cohort:
    cases = [case for case in evaluation.cases if case.site in sites]
    return cohort_of(cases, evaluation.kind, evaluation.finds)


def _told(cohort: Cohort, evaluation: OutcomeEvaluation) -> dict[str, bool]:
    """Which tables of a cohort may be told, by name."""
    return {name: tellable(cells, cohort.numbers) for name, cells in _tables(cohort, evaluation).items()}


def _tables(cohort: Cohort, evaluation: OutcomeEvaluation) -> dict[str, Table]:
    """What is counted. Of more than two classes all are one table, as they exclude each other."""
    if cohort.kind == "survival":
        return {EVENTS: (cohort.events, ~cohort.events)}
    right = cohort.right() == 1
    tables: dict[str, Table] = {RIGHT: (right, ~right)}
    asked = cohort.questions(evaluation.operating)
    if cohort.kind == "multiclass" and len(asked) > 1:
        for question in asked:
            tables[_truth(question.name)] = [one.truth for one in asked]
            tables[question.name] = [one.truth & other.called for one in asked for other in asked]
        return tables
    for question in asked:
        truth, called = question.truth, question.called
        tables[_truth(question.name)] = (truth, ~truth)
        tables[question.name] = (truth & called, truth & ~called, ~truth & called, ~truth & ~called)
    return tables


def _truth(question: str) -> str:
    return f"{question} in truth"


def _group(
    group: OutcomeGroup, cohort: Cohort, evaluation: OutcomeEvaluation, told: Mapping[str, bool]
) -> OutcomeGroup:
    if group.survival is not None:
        enough = _told(cohort, evaluation)[EVENTS]
        return group.model_copy(update={"survival": _events(group.survival, told[EVENTS], enough)})
    asked = cohort.questions(evaluation.operating)
    areas = {q.name: tellable((q.truth, ~q.truth), cohort.numbers) for q in asked}
    questions = {
        name: _question(scores, told[_truth(name)], told[name], areas[name]) for name, scores in group.questions.items()
    }
    changed: dict[str, object] = {"questions": questions}
    if not all(areas.values()):  # a mean over questions would give back the one that is not told
        changed |= {"auroc": None, "average_precision": None}
    if not told[RIGHT]:
        changed["accuracy"] = None
    if group.confusion and not all(told[name] for name in questions):
        changed["confusion"] = ()
    return group.model_copy(update=changed)


def _question(scores: QuestionScores, truth: bool, answers: bool, area: bool) -> QuestionScores:
    changed: dict[str, object] = {}
    if not truth:
        changed |= {"positives": None, "negatives": None}
    if not answers:
        changed["answers"] = AtThreshold(threshold=scores.answers.threshold)
    if not area:
        changed |= {"auroc": None, "average_precision": None, "calibration": None}
    return scores.model_copy(update=changed)


def _events(scores: EventScores, counts: bool, area: bool) -> EventScores:
    changed: dict[str, object] = {} if counts else {"events": None, "pairs": None}
    return scores.model_copy(update=changed | ({} if area else {"concordance": None}))


def _area(group: OutcomeGroup) -> bool:
    return (group.survival.concordance if group.survival is not None else group.auroc) is not None
