from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from radfed.dataset.tables import read_table
from radfed.errors import InvalidInputError


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_fields_stay_text(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", b'\xef\xbb\xbfid,note\n007,"a, b"\n8,\n-inf,"two\nlines"\n'))
    assert table.columns == ("id", "note")
    assert [row.text("id") for row in table.rows] == ["007", "8", "-inf"]
    assert [row.text("note") for row in table.rows] == ["a, b", None, "two\nlines"]
    assert [row.number for row in table.rows] == [2, 3, 4]


def test_delimiter_and_encoding(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "Größe;Alter\n1,80;50\n".encode("latin-1")), ";", "latin-1")
    assert table.rows[0].text("Größe") == "1,80"
    assert read_table(write(tmp_path / "t.tsv", b"a\tb\n1\t2\n")).rows[0].text("b") == "2"


def test_parquet_gives_the_same_text_as_csv(tmp_path: Path) -> None:
    columns = {"n": [1, None], "x": [2.0, 2.5], "t": ["f", None], "b": [True, False]}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    rows = read_table(tmp_path / "t.parquet").rows
    assert [[row.text(column) for column in columns] for row in rows] == [
        ["1", "2", "f", "true"],
        [None, "2.5", None, "false"],
    ]


def test_rows_of_another_length_are_named_by_number_and_not_quoted(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"a,b\n1,2\nMiller,3,4\n5,6\n7\n")
    with pytest.raises(InvalidInputError, match=r"2 row\(s\) have not 2 fields as the header has: row 3, 5") as caught:
        read_table(path)
    assert "Miller" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "cannot be read as CSV"),
        ("t.csv", b"a,b\n", "holds no row"),
        ("t.csv", b"a,a\n1,2\n", "got twice: a"),
        ("t.csv", b"a\nM\xfcller\n", "cannot be read as CSV .UnicodeDecodeError."),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
        ("t.xlsx", b"PK", "must be a file ending in .csv, .tsv, .parquet"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read_table(write(tmp_path / name, content))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be read as CSV \(FileNotFoundError\)"):
        read_table(tmp_path / "none.csv")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", b"age,sex\n1,f\n"))
    with pytest.raises(InvalidInputError, match=r"no column 'crp' \(covariates.crp\); there are: age, sex; add it"):
        table.need({"crp": "covariates.crp", "age": "covariates.age"})
