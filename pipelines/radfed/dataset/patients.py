"""Which case belongs to which patient, from a site's CSV."""

import csv
from pathlib import Path

from radfed.errors import InvalidInputError


def read_patients(path: Path) -> dict[str, str]:
    """Read a CSV with the columns ``id`` (file name without ``.nii.gz``) and ``patient``.

    Raises:
        InvalidInputError: the file cannot be read, lacks a column or a value, or names a case twice with two patients.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            if not {"id", "patient"} <= set(columns):
                raise InvalidInputError(f"{path}: needs the columns id,patient; got {','.join(columns) or 'none'}")
            rows = [((row["id"] or "").strip(), (row["patient"] or "").strip()) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path}: cannot be read as CSV ({type(error).__name__})") from error
    mapping: dict[str, str] = {}
    for line, (case, patient) in enumerate(rows, start=2):
        if not case or not patient:
            raise InvalidInputError(f"{path}: line {line} lacks its id or its patient")
        if mapping.setdefault(case, patient) != patient:
            raise InvalidInputError(f"{path}: line {line} gives a case another patient than a line before")
    return mapping
