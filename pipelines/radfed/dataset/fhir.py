"""FHIR R4 bulk exports: resources Patient, Observation and Condition, one a line in ``.ndjson`` files.

https://hl7.org/fhir/R4/
"""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from radfed.dataset.clinical import Event, Export, Person, read_day
from radfed.errors import InvalidInputError

SUFFIX = ".ndjson"
_NOT_MEANT = {"cancelled", "entered-in-error", "refuted"}
_DAYS = {4: "-07-01", 7: "-15"}
"""FHIR dates may end with the year or the month: half-way through what is not known."""


def is_fhir(folder: Path) -> bool:
    """Whether a folder holds ndjson files."""
    return any(path.suffix.lower() == SUFFIX for path in folder.iterdir())


def read_fhir(folder: Path) -> Export:
    """Read an export; the files may have any names. What was cancelled, refuted or an error is left out.

    The unit of a value is the ``code`` of its Quantity (UCUM), else its ``unit``.

    Raises:
        InvalidInputError: a line is no resource, or a date is none.
    """
    people: dict[str, Person] = {}
    measured: list[Event] = []
    diagnosed: list[Event] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != SUFFIX:
            continue
        for where, resource in _resources(path):
            match resource.get("resourceType"):
                case "Patient":
                    people[str(resource.get("id", ""))] = _person(resource, where)
                case "Observation":
                    measured.extend(_measurements(resource, where))
                case "Condition":
                    diagnosed.extend(_diagnoses(resource, where))
    return Export(people, tuple(measured), tuple(diagnosed))


def _resources(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each resource stands, and itself."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                content = json.loads(line)
                if not isinstance(content, dict):
                    raise InvalidInputError(f"{path.name} line {number}: is no resource")
                yield f"{path.name} line {number}", content
    except (OSError, ValueError) as error:
        # The error itself would quote the line.
        raise InvalidInputError(f"{path.name}: cannot be read as ndjson ({type(error).__name__})") from None


def _person(resource: Mapping[str, Any], where: str) -> Person:
    born = resource.get("birthDate")
    sex = str(resource.get("gender", ""))
    return Person(_day(born, where) if born else None, sex if sex in ("male", "female", "other") else "")


def _measurements(resource: Mapping[str, Any], where: str) -> Iterator[Event]:
    """The value of an observation, or those of its components, as of a blood count."""
    day = resource.get("effectiveDateTime") or resource.get("effectiveInstant") or _start(resource, "effectivePeriod")
    if resource.get("status") in _NOT_MEANT or not day:
        return
    for part in (resource, *_maps(resource.get("component"))):
        quantity = part.get("valueQuantity")
        value = quantity.get("value") if isinstance(quantity, dict) else None
        # A comparator such as < says that the value itself is not known.
        if not isinstance(quantity, dict) or not isinstance(value, int | float) or quantity.get("comparator"):
            continue
        unit = str(quantity.get("code") or quantity.get("unit") or "")
        yield Event(_patient(resource), _codes(part.get("code")), _day(day, where), float(value), unit)


def _diagnoses(resource: Mapping[str, Any], where: str) -> Iterator[Event]:
    status = set(_codes(resource.get("verificationStatus")))
    day = resource.get("onsetDateTime") or _start(resource, "onsetPeriod") or resource.get("recordedDate")
    if day and not status & _NOT_MEANT:
        yield Event(_patient(resource), _codes(resource.get("code")), _day(day, where))


def _patient(resource: Mapping[str, Any]) -> str:
    """The id of the patient, from a reference such as ``Patient/17``."""
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    return str(reference or "").rpartition("/")[2].removeprefix("urn:uuid:")


def _codes(concept: object) -> tuple[str, ...]:
    coding = concept.get("coding") if isinstance(concept, dict) else None
    return tuple(str(one["code"]) for one in _maps(coding) if "code" in one)


def _maps(items: object) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _start(resource: Mapping[str, Any], key: str) -> object:
    period = resource.get(key)
    return period.get("start") if isinstance(period, dict) else None


def _day(value: object, where: str) -> date:
    text = str(value)
    return read_day(text + _DAYS.get(len(text), ""), where)
