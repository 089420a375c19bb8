"""Clinical events of patients around the day of a case, flattened to a table with a row a case.

Hospitals keep records as events (a value on a day, a diagnosis from a day on), in OMOP or FHIR; a task wants one row.
What is wanted, ``extract.yaml`` says. The table holds ages and values, but no date.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from radfed.dataset.records_mapping import Text
from radfed.dataset.tables import Row, Table
from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.settings import Settings

CASE, PATIENT, DATE, AGE, SEX = "case", "patient", "date", "age", "sex"
_YEAR_DAYS = 365.25
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class Measured(Settings):
    """A value of around the day of the case."""

    codes: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(description="OMOP concept ids, or codes in FHIR")
    units: Annotated[dict[Text, float], Field(min_length=1)] = Field(
        description="Unit as the export writes it, to the factor into the table's; values in other units are left out"
    )
    from_day: int = Field(default=-3, description="First day that counts; 0 is that of the case")
    to_day: int = Field(default=1, description="Last day that counts")
    take: Literal["nearest", "first", "last"] = Field(default="nearest", description="Of several values")


class Diagnosed(Settings):
    """Whether a diagnosis began around the day of the case: 1 or 0."""

    codes: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(description="OMOP concept ids, or codes in FHIR")
    from_day: int | None = Field(default=None, description="First day that counts; not set: any before")
    to_day: int | None = Field(default=0, description="Last day that counts; not set: any after")


class Extract(Settings):
    """The columns of the table beside case, patient, age and sex."""

    measurements: dict[Name, Measured] = Field(default={}, description="Columns with a value")
    diagnoses: dict[Name, Diagnosed] = Field(default={}, description="Columns with 1 or 0")


@dataclass(frozen=True)
class Person:
    """What an export says of a patient for good.

    Attributes:
        born: day of birth, or the middle of what is known of it.
        sex: as the export writes it.
    """

    born: date | None
    sex: str


@dataclass(frozen=True)
class Event:
    """Something of a patient on a day; with a value and its unit, or without."""

    patient: str
    codes: tuple[str, ...]
    day: date
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Export:
    """What was read of an export."""

    people: Mapping[str, Person]
    measurements: Sequence[Event]
    diagnoses: Sequence[Event]


@dataclass(frozen=True)
class Flat:
    """A table with a row a case.

    Attributes:
        columns: names.
        rows: fields; what is missing is empty.
        warnings: what people should know; free of identifiers.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write it as CSV."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        put_text(path, text.getvalue())


def flatten(export: Export, cases: Table, extract: Extract) -> Flat:
    """A row for each case, with the values of around its day.

    Args:
        export: the hospital's records.
        cases: with the columns ``case``, ``patient`` and ``date`` (YYYY-MM-DD); further columns, such as the image's
            file, are taken over, the date is not.
        extract: what is wanted.

    Raises:
        InvalidInputError: a column is missing or there twice, or a date is none.
    """
    cases.need({CASE: "the case's id", PATIENT: "whose it is", DATE: "its day, YYYY-MM-DD"})
    kept = tuple(column for column in cases.columns if column != DATE)
    made = (AGE, SEX, *extract.measurements, *extract.diagnoses)
    twice = sorted(name for name in made if (*kept, *made).count(name) > 1)
    if twice:
        raise InvalidInputError(f"{cases.name}: would have a column twice: {', '.join(twice)}; rename it")
    measured, diagnosed = _by_patient(export.measurements), _by_patient(export.diagnoses)
    other_units: dict[str, int] = defaultdict(int)
    rows, strangers = [], 0
    for row in cases.rows:
        patient, day = row.text(PATIENT) or "", read_day(row.text(DATE), f"{cases.name} row {row.number}")
        person = export.people.get(patient, Person(None, ""))
        strangers += patient not in export.people
        values = [
            _value(wanted, measured.get(patient, ()), day, name, other_units)
            for name, wanted in extract.measurements.items()
        ]
        known = [_is_known(wanted, diagnosed.get(patient, ()), day) for wanted in extract.diagnoses.values()]
        there = known if patient in export.people else ["" for _ in known]
        rows.append((*_texts(row, kept), _age(person, day), person.sex, *values, *there))
    warnings = [
        f"{count} values of {name} are in a unit that extract.yaml does not list" for name, count in other_units.items()
    ]
    if strangers:
        warnings.append(f"{strangers} of {len(rows)} cases are of patients whom the export does not know")
    return Flat((*kept, *made), tuple(rows), tuple(warnings))


def read_day(text: str | None, where: str) -> date:
    """A day from ``YYYY-MM-DD``, with or without a time behind it.

    Raises:
        InvalidInputError: it is none; the text itself is not shown.
    """
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        raise InvalidInputError(f"{where}: holds no date; write YYYY-MM-DD") from None


def _by_patient(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.patient].append(event)
    return found


def _value(wanted: Measured, events: Iterable[Event], day: date, name: str, other_units: dict[str, int]) -> str:
    """The value that counts, in the table's unit; empty if there is none."""
    near: list[tuple[int, float]] = []
    for event in events:
        after = (event.day - day).days
        if event.value is None or not set(event.codes) & set(wanted.codes):
            continue
        if not wanted.from_day <= after <= wanted.to_day:
            continue
        if event.unit not in wanted.units:
            other_units[name] += 1
            continue
        near.append((after, event.value * wanted.units[event.unit]))
    if not near:
        return ""
    # Of two on one day the greater: which came first is not known, and the order of an export must not decide.
    keys = {"first": lambda one: (one[0], -one[1]), "last": lambda one: (-one[0], -one[1])}
    chosen = min(near, key=keys.get(wanted.take, lambda one: (abs(one[0]), one[0], -one[1])))
    return f"{chosen[1]:.10g}"


def _is_known(wanted: Diagnosed, events: Iterable[Event], day: date) -> str:
    for event in events:
        after = (event.day - day).days
        in_time = (wanted.from_day is None or after >= wanted.from_day) and (
            wanted.to_day is None or after <= wanted.to_day
        )
        if in_time and set(event.codes) & set(wanted.codes):
            return "1"
    return "0"


def _age(person: Person, day: date) -> str:
    """Whole years, empty where nobody knows."""
    return "" if person.born is None else str(int((day - person.born).days / _YEAR_DAYS))


def _texts(row: Row, columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(row.text(column) or "" for column in columns)
