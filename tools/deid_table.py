"""Make the de-identification tables of the package from the standard's own text.

    python tools/deid_table.py part15.xml 2026d

``part15.xml`` is DICOM PS3.15 as DocBook, published for each edition at
https://dicom.nema.org/medical/dicom/2026d/source/docbook/part15/part15.xml
"""

import argparse
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

FOLDER = Path(__file__).parents[1] / "pipelines" / "radfed" / "imaging" / "deid"
DOCBOOK = "{http://docbook.org/ns/docbook}"
XML_ID = "{http://www.w3.org/XML/1998/namespace}id"

# The options that radfed applies; a cell says what an attribute's action becomes under that option.
COLUMNS = {
    "basic": "Basic Prof.",
    "safe_private": "Rtn. Safe Priv. Opt.",
    "patient_characteristics": "Rtn. Pat. Chars. Opt.",
    "modified_dates": "Rtn. Long. Modif. Dates Opt.",
    "clean_descriptors": "Clean Desc. Opt.",
}


def profile_csv(part15: ElementTree.Element, edition: str) -> str:
    """Table E.1-1, what the Basic Profile and its options do to each attribute, as CSV.

    Raises:
        ValueError: the text has no such table, or a column is missing.
    """
    rows = (
        {
            "tag": _tag(row["Tag"]),
            "name": row["Attribute Name"],
            **{name: row[heading] for name, heading in COLUMNS.items()},
        }
        for row in _table(part15, "table_E.1-1", {"Tag", "Attribute Name", *COLUMNS.values()})
    )
    title = f"DICOM PS3.15 {edition}, Table E.1-1, Application Level Confidentiality Profile Attributes"
    return _csv(title, edition, ("tag", "name", *COLUMNS), rows)


def safe_private_csv(part15: ElementTree.Element, edition: str) -> str:
    """Table E.3.10-1, private attributes that are known to be safe, as CSV.

    Raises:
        ValueError: the text has no such table, or a column is missing.
    """
    rows = (
        {
            "creator": row["Private Creator"],
            "group": _tag(row["Data Element"])[:4],
            "element": _tag(row["Data Element"])[6:],
            "vr": row["VR"],
        }
        for row in _table(part15, "table_E.3.10-1", {"Data Element", "Private Creator", "VR"})
    )
    title = f"DICOM PS3.15 {edition}, Table E.3.10-1, Safe Private Attributes"
    return _csv(title, edition, ("creator", "group", "element", "vr"), rows)


def _table(part15: ElementTree.Element, name: str, headings: set[str]) -> Iterator[dict[str, str]]:
    """The rows of a DocBook table, by heading."""
    table = next((table for table in part15.iter(f"{DOCBOOK}table") if table.get(XML_ID) == name), None)
    if table is None:
        raise ValueError(f"no table {name}: give PS3.15 as DocBook")
    head = [_text(cell) for cell in table.find(f"{DOCBOOK}thead").iter(f"{DOCBOOK}th")]  # type: ignore[union-attr]
    missing = headings - set(head)
    if missing:
        raise ValueError(f"{name} has no column {', '.join(sorted(missing))}; it has {', '.join(head)}")
    for row in table.find(f"{DOCBOOK}tbody").iter(f"{DOCBOOK}tr"):  # type: ignore[union-attr]
        yield dict(zip(head, (_text(cell) for cell in row.iter(f"{DOCBOOK}td")), strict=True))


def _text(cell: ElementTree.Element) -> str:
    """A cell's text in one line, without the zero-width spaces that let long words break."""
    return " ".join("".join(cell.itertext()).replace("\u200b", "").split())


def _tag(text: str) -> str:
    """``(0008,0050)`` as ``00080050``; repeating groups as ``60xx3000``; private attributes as ``ggggeeee``."""
    digits = re.match(r"\(([0-9A-Fa-fXxgG]{4}),([0-9A-Fa-fXxeE]{4})\)", text)
    if digits is None:
        raise ValueError(f"{text!r} is no tag")
    tag = "".join(digits.groups())
    return tag.lower() if tag.lower().startswith("gggg") else tag.upper().replace("X", "x")


def _csv(title: str, edition: str, columns: tuple[str, ...], rows: Iterator[dict[str, str]]) -> str:
    text = io.StringIO()
    text.write(f"# {title}\n# edition {edition}\n")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: tuple(row[column] for column in columns)))
    return text.getvalue()


def main() -> None:
    """Write both tables into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part15", type=Path, help="PS3.15 as DocBook")
    parser.add_argument("edition", help="its edition, for example 2026d")
    arguments = parser.parse_args()
    # The file is the user's own copy of the standard, chosen by hand.
    part15 = ElementTree.parse(arguments.part15).getroot()
    (FOLDER / "table_e1_1.csv").write_text(profile_csv(part15, arguments.edition), encoding="utf-8")
    (FOLDER / "safe_private.csv").write_text(safe_private_csv(part15, arguments.edition), encoding="utf-8")


if __name__ == "__main__":
    main()
