"""Pseudonyms of cases and patients, and the site's own map back to them."""

import csv
import io
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from radfed.imaging.deid.identity import keyed, patient_pseudonym

__all__ = ["COLUMNS", "case_pseudonym", "patient_pseudonym", "read_map", "write_map"]

COLUMNS = ("pseudonym", "raw_id")


def case_pseudonym(secret: bytes, raw: str) -> str:
    """``case-`` and 12 hex digits of HMAC-SHA256: the same for the same secret, and no way back without it."""
    return "case-" + keyed(secret, raw)


def write_map(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Add (pseudonym, raw id) pairs to the site's map, a CSV that only its owner may read (mode 0600)."""
    known = read_map(path) if path.exists() else {}
    known.update(pairs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(known.items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    # The mode is set when the file is made: there is no moment in which others could read it.
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text.getvalue())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_map(path: Path) -> dict[str, str]:
    """The site's map: pseudonym to raw id."""
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["pseudonym"]: row["raw_id"] for row in csv.DictReader(stream)}
