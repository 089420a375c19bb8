"""Exports of the OMOP Common Data Model 5.x: the tables person, measurement and condition_occurrence as CSV or Parquet.

https://ohdsi.github.io/CommonDataModel/cdm54.html
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from radfed.dataset.clinical import Event, Export, Person, read_day
from radfed.dataset.tables import MISSING, SUFFIXES, Row, Table, read_table
from radfed.errors import InvalidInputError

PERSON, MEASUREMENT, CONDITION = "person", "measurement", "condition_occurrence"
_SEX = {"8507": "male", "8532": "female"}
"""Standard concepts of the domain Gender."""


def is_omop(folder: Path) -> bool:
    """Whether a folder holds the table person."""
    return _find(folder, PERSON) is not None


def read_omop(folder: Path, delimiter: str = ",") -> Export:
    """Read an export; tables other than person may be missing.

    The unit of a value is its ``unit_concept_id``, such as 8751 for mg/L.

    Raises:
        InvalidInputError: a table cannot be read, lacks a column, or holds text where a date or number must be.
    """
    people = _table(folder, PERSON, delimiter, ("person_id", "gender_concept_id", "year_of_birth"))
    measured = _table(folder, MEASUREMENT, delimiter, _columns("measurement", "value_as_number", "unit_concept_id"))
    diagnosed = _table(folder, CONDITION, delimiter, _columns("condition"))
    return Export(
        {row.text("person_id") or "": _person(row) for row in (people.rows if people else ())},
        tuple(_measurements(measured)),
        tuple(_diagnoses(diagnosed)),
    )


def _columns(what: str, *more: str) -> tuple[str, ...]:
    day = "condition_start_date" if what == "condition" else f"{what}_date"
    return ("person_id", f"{what}_concept_id", day, *more)


def _person(row: Row) -> Person:
    year = row.text("year_of_birth", MISSING)
    # Half-way through what is not known.
    month, day = (
        row.text(name, MISSING) if name in row.fields else None for name in ("month_of_birth", "day_of_birth")
    )
    try:
        born = date(int(year), int(month or 7), int(day or (15 if month else 1))) if year else None
    except ValueError:
        raise InvalidInputError(f"{PERSON} row {row.number}: year, month or day of birth make no date") from None
    return Person(born, _SEX.get(row.text("gender_concept_id") or "", ""))


def _measurements(table: Table | None) -> Iterator[Event]:
    for row in table.rows if table else ():
        text = row.text("value_as_number", MISSING)
        if text is None:
            continue
        where = f"{MEASUREMENT} row {row.number}"
        try:
            value = float(text)
        except ValueError:
            raise InvalidInputError(f"{where}: value_as_number holds no number") from None
        day = read_day(row.text("measurement_date"), f"{where}, measurement_date")
        code, unit = row.text("measurement_concept_id") or "", row.text("unit_concept_id", MISSING) or ""
        yield Event(row.text("person_id") or "", (code,), day, value, unit)


def _diagnoses(table: Table | None) -> Iterator[Event]:
    for row in table.rows if table else ():
        day = read_day(row.text("condition_start_date"), f"{CONDITION} row {row.number}, condition_start_date")
        yield Event(row.text("person_id") or "", (row.text("condition_concept_id") or "",), day)


def _find(folder: Path, name: str) -> Path | None:
    """The file of a table; databases export names in either case."""
    found = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES)
    return next((path for path in found if path.stem.lower() == name), None)


def _table(folder: Path, name: str, delimiter: str, columns: tuple[str, ...]) -> Table | None:
    """A table with its columns in lower case."""
    path = _find(folder, name)
    if path is None:
        return None
    read = read_table(path, delimiter)
    rows = tuple(Row(row.number, {key.lower(): value for key, value in row.fields.items()}) for row in read.rows)
    table = Table(read.name, tuple(column.lower() for column in read.columns), rows)
    table.need(dict.fromkeys(columns, "OMOP CDM 5.x"))
    return table
