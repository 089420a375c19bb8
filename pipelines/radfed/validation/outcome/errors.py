"""The answers that were wrong, and most sure of themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from radfed.inference.outcome import MIDDLE
from radfed.validation.outcome.results import OutcomeCase, OutcomeEvaluation


@dataclass(frozen=True)
class Verdict:
    """What the model said of a case, for one question or for all classes.

    Attributes:
        case: the case.
        question: class or finding that was decided upon.
        truth: what is so.
        answer: what the model said.
        probability: of its answer.
        doubt: how far the answer is from the truth, 0 to 1: 1 less the probability of what is so.
        right: whether it is.
    """

    case: OutcomeCase
    question: str
    truth: str
    answer: str
    probability: float
    doubt: float
    right: bool


def verdicts_of(evaluation: OutcomeEvaluation) -> list[Verdict]:
    """The verdict on every case, and of findings on each; the farthest from the truth first."""
    found = [verdict for case in evaluation.cases for verdict in _of_case(case, evaluation)]
    return sorted(found, key=lambda one: (-one.doubt, one.case.site, one.case.case, one.question))


def confident_errors(evaluation: OutcomeEvaluation, most: int) -> list[Verdict]:
    """The wrong answers that were farthest from the truth, each case once."""
    chosen: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts_of(evaluation):
        if not verdict.right:
            chosen.setdefault((verdict.case.site, verdict.case.case), verdict)
    return list(chosen.values())[:most]


def _of_case(case: OutcomeCase, evaluation: OutcomeEvaluation) -> Sequence[Verdict]:
    thresholds, finds = evaluation.operating.thresholds, evaluation.finds
    if isinstance(case.truth, str):
        likeliest = max(range(len(finds)), key=case.scores.__getitem__)
        if len(finds) == 2:
            likeliest = int(case.scores[1] >= thresholds.get(finds[1], MIDDLE))
        answer, doubt = finds[likeliest], 1 - case.scores[finds.index(case.truth)]
        return [Verdict(case, answer, case.truth, answer, case.scores[likeliest], doubt, answer == case.truth)]
    if not isinstance(case.truth, tuple):
        return []  # an order of cases has no right answer for one of them
    verdicts = []
    for name, score in zip(finds, case.scores, strict=True):
        there, called = name in case.truth, score >= thresholds.get(name, MIDDLE)
        said = {True: name, False: f"no {name}"}
        verdicts.append(
            Verdict(
                case, name, said[there], said[called], score if called else 1 - score,
                1 - score if there else score, there == called,
            )
        )  # fmt: skip
    return verdicts
