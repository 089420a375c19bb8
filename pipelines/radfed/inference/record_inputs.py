"""Records to predict from: a table with the column ``case`` and one column for each of the task's covariates."""

from collections import Counter
from pathlib import Path

from radfed.dataset.record_rows import read_covariates
from radfed.dataset.records import check_covariates
from radfed.dataset.records_mapping import CovariateColumn, TableMapping
from radfed.dataset.tables import Row, Table, read_table
from radfed.errors import DataError, InvalidInputError
from radfed.task import NumericCovariate, OutcomeTask

CASE = "case"
Covariates = dict[str, float | str]


def read_records(path: Path, task: OutcomeTask) -> dict[str, Covariates | DataError]:
    """The record of each case, or why it cannot be used, in the order of the rows.

    Values are in the task's units and words; what is missing is an absent key. Other columns are not looked at.

    Args:
        path: a CSV or Parquet file.
        task: its covariates are the columns.

    Raises:
        InvalidInputError: it is no table, lacks a column, or a row has no name.
    """
    mapping = _own_words(task)
    table = read_table(path)
    table.need(mapping.columns(), "a column stays, with empty fields, where nothing is known")
    names = [_name(table, row) for row in table.rows]
    counts = Counter(names)
    twice = DataError("same_name", "several rows of the table have this name; keep the right one")
    return {
        name: _record(row, mapping, task) if counts[name] == 1 else twice
        for name, row in zip(names, table.rows, strict=True)
    }


def _own_words(task: OutcomeTask) -> TableMapping:
    """The mapping of a table that already has the task's names, words and units."""
    columns: dict[str, CovariateColumn | None] = {}
    for covariate in task.covariates:
        own: dict[str, float | str] = {}
        if not isinstance(covariate, NumericCovariate):
            own = {value: value for value in covariate.values}
        columns[covariate.name] = CovariateColumn(column=covariate.name, values=own)
    return TableMapping(case=CASE, covariates=columns)


def _name(table: Table, row: Row) -> str:
    name = row.text(CASE)
    if name is None:
        raise InvalidInputError(f"{table.name}: row {row.number} has no text in the column '{CASE}'")
    return name


def _record(row: Row, mapping: TableMapping, task: OutcomeTask) -> Covariates | DataError:
    try:
        found = read_covariates(row, mapping, task)
        check_covariates(found, task)
    except DataError as error:
        return error
    return found
