"""What the logits of cases whose outcome is known are worth."""

import numpy as np
from numpy.typing import NDArray

from radfed.inference.outcome import probabilities
from radfed.metrics.calibration import brier_of_classes, brier_scores
from radfed.metrics.survival import concordance
from radfed.task import MultiClass, MultiLabel, OutcomeTask, Survival

_MIDDLE = 0.5


def overall(logits: NDArray[np.float32], targets: NDArray[np.float32], task: OutcomeTask) -> tuple[float, int] | None:
    """A number from 0 to 1 by which the best round is chosen, and of how many values it is the mean.

    Args:
        logits: ``(N, outputs)``.
        targets: ``(N, ...)`` as in ``OutcomeSample``.
        task: the contract.

    Returns:
        1 less the mean Brier score and the cases; of survival the concordance and the pairs of cases that can be
        compared. None without any.
    """
    if isinstance(task.outcome, Survival):
        times, events = targets[:, 0].astype(np.float64), targets[:, 1] > 0
        found = concordance(times, events, probabilities(logits, task)[:, 0])
        return None if found is None else (found.value, found.comparable)
    values = by_case(logits, targets, task)["brier"]
    return (float(values.mean()), len(values)) if len(values) else None


def by_case(
    logits: NDArray[np.float32], targets: NDArray[np.float32], task: OutcomeTask
) -> dict[str, NDArray[np.float64]]:
    """Values from 0 to 1, one a case, for each of the names in ``task.measured``.

    ``accuracy`` is 1 where the likeliest class is the right one, or the share of findings that are right at a half;
    ``brier`` is 1 less the case's Brier score. ``concordance`` is the share of a case's comparable pairs that are in
    the right order; a case without such a pair has none.
    """
    found = probabilities(logits, task)
    match task.outcome:
        case MultiClass(classes=classes):
            truth = np.arange(len(classes)) == targets
            right = found.argmax(axis=1) == targets[:, 0]
            return {"accuracy": right.astype(np.float64), "brier": 1 - brier_of_classes(truth, found)}
        case MultiLabel():
            truth = targets > _MIDDLE
            right = ((found >= _MIDDLE) == truth).mean(axis=1)
            return {"accuracy": np.asarray(right, dtype=np.float64), "brier": 1 - brier_scores(truth, found)}
        case Survival():
            return {"concordance": _concordances(targets, found[:, 0])}


def _concordances(targets: NDArray[np.float32], hazards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each case that takes part in a comparable pair, the share of its pairs in the right order."""
    times, events = targets[:, 0], targets[:, 1] > 0
    known = events[:, None] & ((times[:, None] < times) | ((times[:, None] == times) & ~events))
    order = known * (np.sign(hazards[:, None] - hazards) + 1) / 2
    pairs = known.sum(axis=0) + known.sum(axis=1)
    right = order.sum(axis=0) + order.sum(axis=1)
    return np.asarray(right[pairs > 0] / pairs[pairs > 0], dtype=np.float64)
