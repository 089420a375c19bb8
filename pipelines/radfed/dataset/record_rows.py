"""One row of a table to the record of a case, as a mapping says. Errors name row and column, and show no value."""

from collections.abc import Collection, Mapping
from typing import TypeVar

from radfed.dataset.layout import Observed, Outcome
from radfed.dataset.records import Record, check_covariates, check_outcome
from radfed.dataset.records_mapping import ClassColumn, CovariateColumn, FindingColumn, TableMapping, Within
from radfed.dataset.splits import SplitName
from radfed.dataset.tables import Row
from radfed.errors import DataError
from radfed.task import Covariate, MultiClass, MultiLabel, NumericCovariate, OutcomeTask, SegmentationTask

T = TypeVar("T")


def read_record(row: Row, mapping: TableMapping, task: SegmentationTask | OutcomeTask) -> Record:
    """The record of a row, checked against the task; of a segmentation task, the split alone.

    Raises:
        DataError: ``not_a_number``, ``implausible_value``, ``missing_value``, ``unknown_value``, ``no_outcome``,
            ``unknown_outcome`` or ``no_split``.
    """
    split = read_split(row, mapping)
    if isinstance(task, SegmentationTask):
        return Record(split=split)
    covariates = read_covariates(row, mapping, task)
    try:
        check_covariates(covariates, task)
        outcome = _outcome(row, mapping, task)
        check_outcome(outcome, task)
    except DataError as error:
        raise DataError(error.reason, f"row {row.number}: {error}") from None
    return Record(covariates, outcome, split)


def read_covariates(row: Row, mapping: TableMapping, task: OutcomeTask) -> dict[str, float | str]:
    """The covariates of a row in the task's words and units, not yet checked; what is missing is not there.

    Raises:
        DataError: ``not_a_number``.
    """
    found = {}
    for covariate in task.covariates:
        column = mapping.covariates.get(covariate.name)
        value = _covariate(row, column, covariate, mapping) if column is not None else None
        if value is not None:
            found[covariate.name] = value
    return found


def takes(row: Row, where: Mapping[str, Collection[str]]) -> bool:
    """Whether a row has one of the texts in each of the columns."""
    return all(_is_one_of(row.text(column), allowed) for column, allowed in where.items())


def _covariate(row: Row, column: CovariateColumn, covariate: Covariate, mapping: TableMapping) -> float | str | None:
    text = row.text(column.column, (*mapping.missing, *column.missing))
    # A marker such as 0 may be written 0.0.
    if text is None or _is_one_of(text, column.missing) or not _inside(row, column.within, mapping):
        return None
    meant = _meaning(column.values, text)
    if not isinstance(covariate, NumericCovariate):
        return text if meant is None else meant
    if meant is not None:
        return meant
    return _number(text, row, column.column, mapping.decimal) * column.factor + column.offset


def _inside(row: Row, within: Within | None, mapping: TableMapping) -> bool:
    if within is None:
        return True
    text = row.text(within.column, mapping.missing)
    if text is None:
        return False
    value = _number(text, row, within.column, mapping.decimal)
    return (within.lower is None or value >= within.lower) and (within.upper is None or value <= within.upper)


def _outcome(row: Row, mapping: TableMapping, task: OutcomeTask) -> Outcome | None:
    match task.outcome:
        case MultiClass():
            return _class(row, mapping.outcome, mapping) if mapping.outcome else None
        case MultiLabel(findings=findings):
            there = {name: _is_there(row, mapping.findings[name], mapping) for name in findings}
            return None if None in there.values() else tuple(name for name in findings if there[name])
        case _:
            return _observed(row, mapping)


def _class(row: Row, column: ClassColumn, mapping: TableMapping) -> str | None:
    text = row.text(column.column, mapping.missing)
    if column.present is not None:
        return column.absent if text is None else column.present
    if text is None:
        return None
    if column.threshold is not None:
        return column.above if _number(text, row, column.column, mapping.decimal) > column.threshold else column.up_to
    meant = _meaning(column.values, text)
    return text if meant is None else meant


def _is_there(row: Row, column: FindingColumn, mapping: TableMapping) -> bool | None:
    text = row.text(column.column, mapping.missing)
    if column.present:
        return text is not None
    if text is None:
        return False if column.missing_is_negative else None
    if _is_one_of(text, column.positive):
        return True
    if _is_one_of(text, column.negative):
        return False
    allowed = ", ".join((*column.positive, *column.negative))
    raise DataError(
        "unknown_outcome", f"column {column.column!r} holds none of: {allowed}; add the text to the mapping"
    )


def _observed(row: Row, mapping: TableMapping) -> Observed | None:
    if mapping.time is None or mapping.event is None:
        return None
    text, event = row.text(mapping.time.column, mapping.missing), _is_there(row, mapping.event, mapping)
    if text is None or event is None:
        return None
    time = _number(text, row, mapping.time.column, mapping.decimal) * mapping.time.factor
    if not 0 <= time < float("inf"):
        raise DataError("unknown_outcome", f"column {mapping.time.column!r}: a time must be finite and not below 0")
    return Observed(time=time, event=event)


def read_split(row: Row, mapping: TableMapping) -> SplitName | None:
    """The split that a row states; None if the mapping has no column for it.

    Raises:
        DataError: ``no_split``.
    """
    if mapping.split is None:
        return None
    text = row.text(mapping.split.column, mapping.missing)
    own: dict[str, SplitName] = {"training": "training", "validation": "validation", "test": "test"}
    split = None if text is None else _meaning({**own, **mapping.split.values}, text)
    if split is None:
        known = ", ".join((*own, *mapping.split.values))
        raise DataError(
            "no_split", f"row {row.number}, column {mapping.split.column!r}: holds no split; known: {known}"
        )
    return split


def _number(text: str, row: Row, column: str, decimal: str) -> float:
    try:
        return float(text if decimal == "." else text.replace(".", "").replace(",", "."))
    except ValueError:
        raise DataError(
            "not_a_number",
            f"row {row.number}, column {column!r}: holds text that is no number; mend it, or give the mapping what the "
            "text means under values or missing",
        ) from None


def _meaning(values: Mapping[str, T], text: str) -> T | None:
    """What a text means; 1.0 means what 1 means, as tables with gaps write whole numbers."""
    return values.get(text, values.get(_plain(text)))


def _is_one_of(text: str | None, allowed: Collection[str]) -> bool:
    return text is not None and (text in allowed or _plain(text) in allowed)


def _plain(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text
