"""Counts so small that they would point at people: which tables may travel, and scores that travel in runs of cases.

The unit is the patient. A cell is told if nobody is in it, or at least ``LEAST_PATIENTS``; a table is told whole or not
at all, since its margins would give a single missing cell back.
"""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_PATIENTS = 3
"""Fewer are not shown by themselves where numbers travel: a mean of one is a person's result."""

Patients = NDArray[np.int64]
"""Whose each case is ``(N,)``, as numbers."""


def numbered(patients: Iterable[Hashable]) -> Patients:
    """Patients as numbers, in the order in which they come first."""
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(one, len(places)) for one in patients], dtype=np.int64)


def enough(count: int) -> bool:
    """Whether a number of patients may be told."""
    return count == 0 or count >= LEAST_PATIENTS


def tellable(cells: Iterable[NDArray[np.bool_]], patients: Patients) -> bool:
    """Whether all cells of a table may be told.

    Args:
        cells: the cases in each ``(N,)``.
        patients: whose they are.
    """
    return all(enough(len(np.unique(patients[cell]))) for cell in cells)


def in_runs(
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    patients: Patients,
    parted: Sequence[NDArray[np.bool_]] = (),
) -> NDArray[np.float64] | None:
    """The scores, each replaced by the mean of a run of neighbours, so that no curve has a step of few patients.

    From the highest score down a run is closed as soon as its positive and its negative cases are tellable; what is
    left at the end joins the runs before. Equal scores are in one run.

    Args:
        scores: ``(N,)``.
        truth: ``(N,)``.
        patients: whose the cases are.
        parted: parts of the cases that share no run, of falling scores; without, all are one part.

    Returns:
        ``(N,)``; None if a part as a whole may not be told.
    """
    runs: list[NDArray[np.intp]] = []
    for part in parted or (np.ones(len(scores), bool),):
        found = _runs(np.flatnonzero(part), scores, truth, patients)
        if found is None:
            return None
        runs += found
    told = np.empty_like(scores)
    for run in runs:
        told[run] = scores[run].mean()
    return told


def _runs(
    cases: NDArray[np.intp], scores: NDArray[np.float64], truth: NDArray[np.bool_], patients: Patients
) -> list[NDArray[np.intp]] | None:
    def closed(run: NDArray[np.intp]) -> bool:
        return tellable((truth[run], ~truth[run]), patients[run])

    ordered = cases[np.argsort(-scores[cases], kind="stable")]
    steps = np.split(ordered, np.flatnonzero(np.diff(scores[ordered]) < 0) + 1) if len(ordered) else []
    runs: list[NDArray[np.intp]] = []
    open_run = ordered[:0]
    for step in steps:
        open_run = np.concatenate([open_run, step])
        if closed(open_run):
            runs.append(open_run)
            open_run = ordered[:0]
    while len(open_run) and not closed(open_run):
        if not runs:
            return None
        open_run = np.concatenate([runs.pop(), open_run])
    return [*runs, open_run] if len(open_run) else runs
