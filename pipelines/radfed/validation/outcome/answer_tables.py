"""From a site's answers to the sums that may leave it, by the rules of ``radfed.validation.outcome.travelling``."""

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.answer_sums import GRID, AnswerCounts, AnswerSums, Bin, EventSums, QuestionSums
from radfed.metrics.operating import confusion
from radfed.metrics.roc import delong
from radfed.metrics.small_cells import in_runs, tellable
from radfed.metrics.sums import MeanSums
from radfed.metrics.survival import concordance
from radfed.validation.outcome.cohort import Cohort, Question, cohort_of
from radfed.validation.outcome.results import OutcomeEvaluation, has_thresholds


def answer_sums(evaluation: OutcomeEvaluation) -> AnswerSums:
    """The sums of one site's answers.

    Args:
        evaluation: of the site, at operating points that are the same everywhere.
    """
    cohort = cohort_of(evaluation.cases, evaluation.kind, evaluation.finds)
    if cohort.kind == "survival":
        return AnswerSums(
            thresholds={}, right=None, brier=None, questions={}, confusion=(), events=_events(cohort)
        )  # fmt: skip
    asked = cohort.questions(evaluation.operating)
    by_threshold = has_thresholds(cohort.kind, cohort.finds)
    exclusive = cohort.kind == "multiclass" and len(asked) > 1
    # Of more than two classes all tables are one, as the classes exclude each other.
    truth = exclusive and tellable([one.truth for one in asked], cohort.numbers)
    answers = exclusive and tellable([one.truth & other.called for one in asked for other in asked], cohort.numbers)
    questions = {
        question.name: _question(
            question,
            cohort,
            truth if exclusive else tellable((question.truth, ~question.truth), cohort.numbers),
            answers if exclusive else tellable(_cells(question), cohort.numbers),
            evaluation.operating.thresholds.get(question.name) if by_threshold else None,
        )
        for question in asked
    }
    right = cohort.right()
    areas = all(tellable((one.truth, ~one.truth), cohort.numbers) for one in asked)
    return AnswerSums(
        thresholds=dict(evaluation.operating.thresholds) if by_threshold else {},
        right=MeanSums.of(right, cohort.numbers) if tellable((right == 1, right < 1), cohort.numbers) else None,
        brier=MeanSums.of(cohort.brier(), cohort.numbers) if areas else None,
        questions=questions,
        confusion=_matrix(cohort, asked) if all(one.answers for one in questions.values()) else (),
        events=None,
    )


def _cells(question: Question) -> tuple[NDArray[np.bool_], ...]:
    truth, called = question.truth, question.called
    return truth & called, truth & ~called, ~truth & called, ~truth & ~called


def _question(question: Question, cohort: Cohort, truth: bool, answers: bool, threshold: float | None) -> QuestionSums:
    there, scores = question.truth, question.scores
    found = delong(there, scores) if tellable((there, ~there), cohort.numbers) else None
    counts = None
    if truth and answers:
        cells = confusion(there, question.called)
        counts = AnswerCounts(**vars(cells))
    return QuestionSums(
        positives=int(there.sum()) if truth else None,
        negatives=int((~there).sum()) if truth else None,
        answers=counts,
        area=found.value if found else None,
        variance=found.variance if found else None,
        bins=_bins(question, cohort, threshold if counts is not None else None) if truth and found else (),
    )


def _bins(question: Question, cohort: Cohort, threshold: float | None) -> tuple[Bin, ...]:
    """Runs of enough patients on the grid; none of them reaches over the operating point, if that is told."""
    step = np.minimum(np.floor(question.scores * GRID), GRID - 1).astype(np.float64)
    everybody = np.ones(cohort.size, dtype=bool)
    parts = [everybody] if threshold is None else [question.called, ~question.called]
    runs = in_runs(step, question.truth, cohort.numbers, parts)
    if runs is None:
        return ()
    found = []
    for above, part in zip((True, False), parts, strict=False):
        for run in sorted(set(runs[part].tolist()), reverse=True):
            cases = part & (runs == run)
            low, high = step[cases].min() / GRID, (step[cases].max() + 1) / GRID
            if threshold is not None:
                low, high = (max(low, threshold), high) if above else (low, min(high, threshold))
            there = question.truth[cases]
            found.append(
                Bin(
                    low=float(low), high=float(high), positives=int(there.sum()), negatives=int((~there).sum()),
                    total=float(question.scores[cases].sum()),
                )
            )  # fmt: skip
    return tuple(reversed(found))


def _matrix(cohort: Cohort, asked: list[Question]) -> tuple[tuple[int, ...], ...]:
    """Truth in rows, answers in columns; of findings, which do not exclude each other, none."""
    if cohort.kind != "multiclass":
        return ()
    classes = len(cohort.finds)
    answers = asked[0].called.astype(np.intp) if classes == 2 else cohort.likeliest
    counts = np.bincount(cohort.truth.argmax(axis=1) * classes + answers, minlength=classes**2)
    return tuple(tuple(int(count) for count in row) for row in counts.reshape(classes, classes))


def _events(cohort: Cohort) -> EventSums | None:
    if not tellable((cohort.events, ~cohort.events), cohort.numbers):
        return None
    found = concordance(cohort.times, cohort.events, cohort.scores[:, 0])
    if found is None:
        return None
    return EventSums(
        events=int(cohort.events.sum()), concordant=found.concordant, discordant=found.discordant, tied=found.tied
    )
