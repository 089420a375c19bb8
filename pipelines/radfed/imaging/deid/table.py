"""The standard's own tables of what to do with which attribute: PS3.15 Table E.1-1 and Table E.3.10-1.

Both are data files beside this module, made by ``tools/deid_table.py`` from the standard's text.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

PRIVATE = "ggggeeee"


@dataclass(frozen=True)
class Row:
    """An attribute's action in the Basic Profile, and what the options that radfed applies change it to ("": nothing).

    Attributes:
        tag: eight hexadecimal digits, with ``x`` where any digit fits.
        name: the attribute's name.
        basic: D, Z, X, K, C or U, or several as in ``X/Z/D``: which one depends on the object.
        safe_private: under Retain Safe Private.
        patient_characteristics: under Retain Patient Characteristics.
        modified_dates: under Retain Longitudinal Temporal Information with Modified Dates.
        clean_descriptors: under Clean Descriptors.
    """

    tag: str
    name: str
    basic: str
    safe_private: str
    patient_characteristics: str
    modified_dates: str
    clean_descriptors: str

    @property
    def last(self) -> str:
        """The action that keeps an object valid, whatever it asks of the attribute: the last one named."""
        return self.basic.rsplit("/", 1)[-1]


@cache
def profile() -> dict[int, Row]:
    """Rows of Table E.1-1 that stand for one attribute, by tag."""
    return {int(row.tag, 16): row for row in rows() if "x" not in row.tag and row.tag != PRIVATE}


@cache
def rows() -> tuple[Row, ...]:
    """All rows of Table E.1-1."""
    return tuple(Row(**row) for row in _read("table_e1_1.csv"))


@cache
def safe_private() -> dict[tuple[str, int, int], str]:
    """Private attributes that are safe: (creator, group, last two digits of the element) to value representation."""
    return {
        (row["creator"], int(row["group"], 16), int(row["element"], 16)): row["vr"] for row in _read("safe_private.csv")
    }


@cache
def edition() -> str:
    """Edition of the standard that Table E.1-1 was taken from, for example ``2026d``."""
    return next(line.split()[-1] for line in _lines("table_e1_1.csv") if line.startswith("# edition"))


def _read(name: str) -> Iterator[dict[str, str]]:
    return csv.DictReader(line for line in _lines(name) if not line.startswith("#"))


def _lines(name: str) -> list[str]:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()
