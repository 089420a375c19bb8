"""From a site's scored masks to the sums that may leave it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.disclosure import Group, gives_away, told_groups
from radfed.metrics.mask_sums import LabelSums, MaskSums, OutcomeCounts, VolumeSums
from radfed.metrics.policy import Outcome
from radfed.metrics.small_cells import Patients, numbered, tellable
from radfed.metrics.sums import MeanSums
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.summary import METRICS, Metric, case_value, label_value

_MEAN = ""
"""Stands for each case's mean over its labels, where a label's name would be."""
_FIELDS = {
    "compared": Outcome.COMPARED,
    "both_empty": Outcome.BOTH_EMPTY,
    "false_positives": Outcome.FALSE_POSITIVE,
    "missed": Outcome.MISSED,
}

Values = NDArray[np.float64]
"""One value a case ``(N,)``, NaN where it has none."""


def mask_sums(evaluation: Evaluation) -> MaskSums:
    """The sums of one site's masks; those that would give a few patients away, alone or with the others, are left out.

    Args:
        evaluation: of the site.
    """
    cases = evaluation.cases
    patients = numbered(case.patient for case in cases)
    names = list(dict.fromkeys(result.label for case in cases for result in case.labels))
    values = {(_MEAN, metric): _values([case_value(case, metric) for case in cases]) for metric in METRICS}
    outcomes = {}
    for name in names:
        results = [next(result for result in case.labels if result.label == name) for case in cases]
        outcomes[name] = {field: np.array([r.outcome is kind for r in results]) for field, kind in _FIELDS.items()}
        values |= {(name, metric): _values([label_value(result, metric) for result in results]) for metric in METRICS}
    everybody = np.ones(len(cases), dtype=bool)
    fixed: list[Group] = [everybody]
    counted = set()
    for name, cells in outcomes.items():
        table = list(cells.values())
        if tellable(table, patients) and not gives_away([*fixed, *table], patients):
            counted.add(name)
            fixed += table
    told = told_groups({key: ~np.isnan(column) for key, column in values.items()}, fixed, patients)

    def sums(name: str, metric: Metric) -> MeanSums | None:
        column = values[name, metric]
        there = ~np.isnan(column)
        return MeanSums.of(column[there], patients[there]) if (name, metric) in told else None

    def of(name: str, counts: OutcomeCounts | None) -> LabelSums:
        return LabelSums(**{metric: sums(name, metric) for metric in METRICS}, counts=counts)

    counts = {name: _counts(outcomes[name]) if name in counted else None for name in names}
    return MaskSums(
        mean=of(_MEAN, _together([counts[name] for name in names])),
        labels={name: of(name, counts[name]) for name in names},
        # Volumes are of the cases that the overlap is of.
        volumes={name: _volumes(cases, name, patients) if (name, "dice") in told else None for name in names},
    )


def _values(found: Sequence[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def _counts(cells: dict[str, NDArray[np.bool_]]) -> OutcomeCounts:
    return OutcomeCounts(**{field: int(cell.sum()) for field, cell in cells.items()})


def _together(counts: Sequence[OutcomeCounts | None]) -> OutcomeCounts | None:
    told = [count for count in counts if count is not None]
    if len(told) < len(counts):
        return None
    return OutcomeCounts(**{field: sum(getattr(count, field) for count in told) for field in _FIELDS})


def _volumes(cases: Sequence[CaseResult], name: str, patients: Patients) -> VolumeSums | None:
    found = [next(result for result in case.labels if result.label == name) for case in cases]
    there = np.array([result.outcome is not Outcome.BOTH_EMPTY for result in found])
    wanted = np.array([result.reference_ml for result in found])[there]
    marked = np.array([result.prediction_ml for result in found])[there]
    reference = MeanSums.of(wanted, patients[there])
    difference = MeanSums.of(marked - wanted, patients[there])
    return None if reference is None or difference is None else VolumeSums(reference=reference, difference=difference)
