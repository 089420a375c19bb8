"""The operating point of a release: found on the validation cases of the datasets at hand, as the contract says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Dataset
from radfed.inference.answers import batch_size
from radfed.inference.model import OnnxModel
from radfed.inference.operating import OperatingThresholds, threshold_columns
from radfed.inference.outcome import logits_of, prepare_case, probabilities
from radfed.metrics.operating import choose_threshold
from radfed.metrics.small_cells import numbered, tellable


def find_thresholds(model: OnnxModel, datasets: Sequence[Path]) -> OperatingThresholds | None:
    """The thresholds of the positive one of two classes, or of each finding.

    Args:
        model: of an outcome task.
        datasets: prepared ones, whose validation cases count.

    Returns:
        None where there is nothing to choose: more than two classes, survival, or too few patients of one of the
        answers among the validation cases; a threshold between the scores of two patients would tell them.

    Raises:
        InvalidInputError: a folder is no prepared dataset.
        DataError: a case does not fit the task.
    """
    task = model.outcome
    columns = threshold_columns(task)
    opened = [Dataset.read(root) for root in datasets] if columns else []
    cases = [(dataset, case) for dataset in opened for case in dataset.split("validation") if case.outcome is not None]
    if not cases:
        return None
    values = _values(cases, model)
    patients = numbered((dataset.site, case.patient) for dataset, case in cases)
    thresholds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, column in columns.items():
        truth = np.array([_has(case, name) for _, case in cases])
        if not tellable((truth, ~truth), patients):
            continue
        found = choose_threshold(truth, values[:, column], task.operating_point.rule, task.operating_point.value)
        if found is not None:
            # Where none is called positive it may lie above 1.
            thresholds[name], counts[name] = min(1.0, max(0.0, found)), len(cases)
    if not thresholds:
        return None
    return OperatingThresholds(
        model=model.weights_digest, rule=task.operating_point, thresholds=thresholds, cases=counts
    )


def _values(cases: Sequence[tuple[Dataset, Case]], model: OnnxModel) -> NDArray[np.float64]:
    """Probabilities ``(N, outputs)``."""
    task, size = model.outcome, batch_size(model.outcome)
    found = []
    for first in range(0, len(cases), size):
        prepared = [
            prepare_case(dataset.image(case) if task.image is not None else None, case.covariates, task)
            for dataset, case in cases[first : first + size]
        ]
        found.append(probabilities(logits_of(prepared, model.answer), task))
    return np.concatenate(found)


def _has(case: Case, name: str) -> bool:
    return name in case.outcome if isinstance(case.outcome, tuple) else case.outcome == name
