"""Element values straight from their bytes: fast on thousands of headers, and never an exception for a bad value.

pydicom finds the elements; decoding the few that reading needs is left to the functions here, because pydicom's own
value classes validate and warn, and cost ten times as much.
"""

import math
import re
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset
from pydicom.valuerep import TEXT_VR_DELIMS

_NUMBERS = {"US": ("u", 2), "SS": ("i", 2), "UL": ("u", 4), "SL": ("i", 4)}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Elements:
    """The values of a dataset by tag; what is absent, empty or malformed is ``None``, ``""`` or ``()``."""

    def __init__(self, dataset: Dataset, encodings: list[str] | None = None) -> None:
        self.dataset = dataset
        self.encodings = encodings if encodings is not None else _encodings(dataset)

    def text(self, tag: int) -> str:
        """A text value, stripped of padding and control characters."""
        value = self._value(tag)
        if isinstance(value, bytes):
            return _CONTROL.sub("", self._decode(value)).strip()
        return _CONTROL.sub("", str(value)).strip() if isinstance(value, str) else ""

    def texts(self, tag: int) -> tuple[str, ...]:
        """A text value of several parts, upper case."""
        whole = self.text(tag)
        return tuple(part.strip().upper() for part in whole.split("\\")) if whole else ()

    def numbers(self, tag: int, count: int) -> tuple[float, ...] | None:
        """Exactly ``count`` finite decimal numbers, or None."""
        parts = self.text(tag).split("\\")
        try:
            values = tuple(float(part) for part in parts)
        except ValueError:
            return None
        return values if len(values) == count and all(math.isfinite(value) for value in values) else None

    def number(self, tag: int) -> float | None:
        """A finite decimal number, or None."""
        values = self.numbers(tag, 1)
        return values[0] if values else None

    def integer(self, tag: int) -> int | None:
        """A whole number written as text, or None."""
        value = self.number(tag)
        return int(value) if value is not None and value.is_integer() else None

    def binary(self, tag: int, kind: str) -> tuple[int, ...]:
        """Whole numbers stored as ``US``, ``SS``, ``UL`` or ``SL``; () if absent or cut."""
        item = self.dataset.get_item(tag)
        value = None if item is None else item.value
        if isinstance(value, int):
            return (value,)
        if not isinstance(value, bytes):
            return tuple(int(part) for part in value) if isinstance(value, list) else ()
        sign, size = _NUMBERS[kind]
        order = "little" if getattr(item, "is_little_endian", True) else "big"
        whole = range(0, len(value) - size + 1, size)
        return tuple(int.from_bytes(value[at : at + size], order, signed=sign == "i") for at in whole)  # type: ignore[arg-type]

    def double(self, tag: int) -> float | None:
        """A finite number stored as ``FD``, or None."""
        if self.dataset.get_item(tag) is None:
            return None
        value = self.dataset[tag].value
        return float(value) if isinstance(value, float) and math.isfinite(value) else None

    def items(self, tag: int) -> list["Elements"]:
        """The items of a sequence; [] if absent."""
        if self.dataset.get_item(tag) is None:
            return []
        value = self.dataset[tag].value
        return [Elements(item, self.encodings) for item in value] if not isinstance(value, (bytes, str)) else []

    def first(self, tag: int) -> "Elements | None":
        """The first item of a sequence, or None."""
        items = self.items(tag)
        return items[0] if items else None

    def _value(self, tag: int) -> Any:  # noqa: ANN401 - whatever pydicom holds
        item = self.dataset.get_item(tag)
        return None if item is None else item.value

    def _decode(self, value: bytes) -> str:
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        return str(decode_bytes(value, self.encodings, TEXT_VR_DELIMS))


def _encodings(dataset: Dataset) -> list[str]:
    """Python's names of the character sets that a dataset declares; Latin-1 for what nobody knows."""
    item = dataset.get_item(0x00080005)
    value = None if item is None else item.value
    names = value.decode("ascii", "replace").split("\\") if isinstance(value, bytes) else value
    try:
        return list(convert_encodings([name.strip() for name in names] if isinstance(names, list) else names or ""))
    except (LookupError, ValueError):
        return ["iso8859"]
