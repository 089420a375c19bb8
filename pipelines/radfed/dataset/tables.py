"""Tables of records as a hospital exports them: CSV or Parquet, every field as text or missing.

What a field means is the mapping's word, not this file's. Errors name columns and rows, never a field: a field can be a
name or a date of birth. Row 1 of a table is its header, as in a spreadsheet; so it is counted for Parquet as well.
"""

import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from radfed.errors import InvalidInputError

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "?")
"""What stands for nothing in most exports."""

SUFFIXES = (".csv", ".tsv", ".parquet")
_FIRST_ROW = 2


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        number: where it stands, with the header as row 1.
        fields: text by column; what is missing is None.
    """

    number: int
    fields: Mapping[str, str | None]

    def text(self, column: str, missing: Collection[str] = ()) -> str | None:
        """A field without the spaces around it; None if it is missing or one of the markers."""
        field = (self.fields[column] or "").strip()
        return None if not field or field in missing else field


@dataclass(frozen=True)
class Table:
    """Rows with the columns that they have.

    Attributes:
        name: of the file, for messages to people at the site.
        columns: names, in order.
        rows: in order.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def need(self, columns: Mapping[str, str], remedy: str = "add it") -> None:
        """Refuse a table that lacks columns.

        Args:
            columns: name of a column to what asks for it.
            remedy: what to do about one that is not there.

        Raises:
            InvalidInputError: with the columns that are there.
        """
        lacking = [f"{name!r} ({why})" for name, why in columns.items() if name not in self.columns]
        if lacking:
            raise InvalidInputError(
                f"{self.name}: has no column {', '.join(lacking)}; there are: {', '.join(self.columns)}; {remedy}"
            )


def read_table(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> Table:
    """Read a CSV or Parquet file.

    Args:
        path: ends in ``.csv``, ``.tsv`` or ``.parquet``.
        delimiter: between the fields of a CSV file; ``.tsv`` always has tabs.
        encoding: of a CSV file.

    Raises:
        InvalidInputError: it cannot be read, has no row, a column twice, or a row with too many or too few fields.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(f"{path}: a table must be a file ending in {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            read = parquet.read_table(path)
        else:
            read = _read_csv(path, "\t" if suffix == ".tsv" else delimiter, encoding)
    except (OSError, pa.ArrowException, UnicodeError, LookupError) as error:
        # Arrow's own message may quote a row.
        raise InvalidInputError(
            f"{path}: cannot be read as {'Parquet' if suffix == '.parquet' else 'CSV'} ({type(error).__name__}); "
            "give UTF-8 with one header row, or state delimiter and encoding in the mapping"
        ) from None
    return make_table(path.name, read.column_names, list(_texts(read)))


def make_table(name: str, columns: list[str], rows: list[tuple[str | None, ...]]) -> Table:
    """A table of fields that are at hand.

    Raises:
        InvalidInputError: it has no row, or a column twice.
    """
    columns = [column.strip() for column in columns]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InvalidInputError(f"{name}: each column must be there once, got twice: {', '.join(twice)}")
    if not rows:
        raise InvalidInputError(f"{name}: holds no row")
    return Table(
        name,
        tuple(columns),
        tuple(
            Row(number, dict(zip(columns, fields, strict=True))) for number, fields in enumerate(rows, start=_FIRST_ROW)
        ),
    )


def _read_csv(path: Path, delimiter: str, encoding: str) -> pa.Table:
    """All columns as text; rows of another length are refused by their number."""
    # Bytes that are no text of this encoding must fail here: Arrow would quote them.
    content = path.read_bytes().decode(encoding).removeprefix("\ufeff").encode()
    wrong: list[int] = []

    def note(row: csv.InvalidRow) -> str:
        wrong.append(row.number)
        return "skip"

    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note)
    # One thread, or rows would have no numbers.
    reading = csv.ReadOptions(use_threads=False, block_size=max(len(content) + 1, 1))
    with csv.open_csv(io.BytesIO(content), reading, parse) as head:
        names = head.schema.names
    wrong.clear()
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(io.BytesIO(content), reading, parse, convert)
    if wrong:
        shown = ", ".join(str(number) for number in wrong[:10])
        raise InvalidInputError(
            f"{path}: {len(wrong)} row(s) have not {len(names)} fields as the header has: row {shown}; "
            "is a field with a delimiter in it quoted?"
        )
    return table


def _texts(table: pa.Table) -> Iterator[tuple[str | None, ...]]:
    """Rows of text; whole numbers stand without a decimal point."""
    columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    return zip(*columns, strict=True) if columns else iter(())


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return str(int(value)) if value.is_integer() else repr(value)
        case _:
            return str(value)
