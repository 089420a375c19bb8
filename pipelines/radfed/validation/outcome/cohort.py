"""Cases as arrays, for the metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Observed
from radfed.inference.outcome import MIDDLE
from radfed.metrics.calibration import brier_of_classes, brier_scores
from radfed.metrics.small_cells import numbered
from radfed.validation.outcome.results import Kind, OperatingPoints, OutcomeCase, has_thresholds, questions_of


@dataclass(frozen=True)
class Question:
    """What is asked of every case with yes or no.

    Attributes:
        name: the class or finding.
        truth: the right answers ``(N,)``.
        scores: probability of yes ``(N,)``.
        called: the model's answers ``(N,)``.
    """

    name: str
    truth: NDArray[np.bool_]
    scores: NDArray[np.float64]
    called: NDArray[np.bool_]


@dataclass(frozen=True)
class Cohort:
    """Some cases of an evaluation.

    Attributes:
        kind: what is answered with.
        finds: classes or findings.
        scores: ``(N, K)``.
        truth: class or findings ``(N, K)``; ``(N, 0)`` for survival.
        times: when the event, or the end of watching, came ``(N,)``; empty but for survival.
        events: whether it was the event ``(N,)``.
        patients: whose case it is.
        sites: where the case is from.
    """

    kind: Kind
    finds: tuple[str, ...]
    scores: NDArray[np.float64]
    truth: NDArray[np.bool_]
    times: NDArray[np.float64]
    events: NDArray[np.bool_]
    patients: tuple[str, ...]
    sites: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of cases."""
        return len(self.patients)

    @property
    def patient_count(self) -> int:
        """Number of patients; the same pseudonym at two sites means two."""
        return len(set(zip(self.sites, self.patients, strict=True)))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Whose case it is, as a number ``(N,)``."""
        return numbered(zip(self.sites, self.patients, strict=True))

    @property
    def clustered(self) -> bool:
        """Whether several cases belong to one patient, so that they are no independent looks."""
        return self.patient_count < self.size

    @property
    def likeliest(self) -> NDArray[np.intp]:
        """Place of the class with the largest probability ``(N,)``."""
        return np.asarray(self.scores.argmax(axis=1), dtype=np.intp)

    def right(self) -> NDArray[np.float64]:
        """Share of each case that is answered rightly by the likeliest class, or by findings at a half ``(N,)``."""
        if self.kind == "multiclass":
            return self.truth[np.arange(self.size), self.likeliest].astype(np.float64)
        return np.asarray(((self.scores >= MIDDLE) == self.truth).mean(axis=1), dtype=np.float64)

    def brier(self) -> NDArray[np.float64]:
        """Brier score of each case ``(N,)``, 0 to 1."""
        measure = brier_of_classes if self.kind == "multiclass" else brier_scores
        return measure(self.truth, self.scores)

    def questions(self, operating: OperatingPoints) -> list[Question]:
        """What is asked with yes or no, and what the model answers at the operating points."""
        by_threshold = has_thresholds(self.kind, self.finds)
        asked = []
        for name, place in questions_of(self.kind, self.finds):
            scores = self.scores[:, place]
            called = scores >= operating.thresholds[name] if by_threshold else self.likeliest == place
            asked.append(Question(name, self.truth[:, place], scores, called))
        return asked


def cohort_of(cases: Sequence[OutcomeCase], kind: Kind, finds: tuple[str, ...]) -> Cohort:
    """Put cases into arrays."""
    truth = np.zeros((len(cases), 0 if kind == "survival" else len(finds)), dtype=bool)
    times, events = np.empty(0), np.empty(0, dtype=bool)
    if kind == "survival":
        observed = [case.truth for case in cases if isinstance(case.truth, Observed)]
        times = np.array([one.time for one in observed], dtype=np.float64)
        events = np.array([one.event for one in observed], dtype=bool)
    else:
        for row, case in zip(truth, cases, strict=True):
            there = (case.truth,) if isinstance(case.truth, str) else case.truth
            row[:] = [name in there for name in finds] if isinstance(there, tuple) else False
    scores = np.array([case.scores for case in cases], dtype=np.float64).reshape(len(cases), len(finds))
    return Cohort(
        kind, finds, scores, truth, times, events,
        tuple(case.patient for case in cases), tuple(case.site for case in cases),
    )  # fmt: skip
