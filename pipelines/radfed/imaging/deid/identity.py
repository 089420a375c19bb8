"""What replaces a patient's identity, keyed by the site's secret: pseudonyms, UIDs, dates.

Equal secrets give equal replacements, in every file and every run; without the secret there is no way back.
"""

import hashlib
import hmac
import re
import uuid
from datetime import date, timedelta

WELL_KNOWN = "1.2.840.10008."
"""What the standard itself names: SOP classes, transfer syntaxes, coding schemes, frames of reference of atlases."""

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?")


def patient_key(patient: str, study: str) -> str:
    """What stands for a patient: PatientID, or where there is none the study, as a patient of its own."""
    return patient.strip() or f"study {study.strip()}"


def keyed(secret: bytes, raw: str) -> str:
    """12 hex digits of HMAC-SHA256: the same for the same secret, and no way back without it."""
    return _digest(secret, raw).hex()[:12]


def patient_pseudonym(secret: bytes, key: str) -> str:
    """``pat-`` and 12 hex digits of HMAC-SHA256."""
    return f"pat-{keyed(secret, key)}"


def file_pseudonym(secret: bytes, name: str) -> str:
    """``file-`` and 12 hex digits of HMAC-SHA256."""
    return f"file-{keyed(secret, name)}"


def code_pseudonym(secret: bytes, scheme: str, value: str) -> str:
    """``L`` and 12 hex digits, for a code of a coding scheme that is the hospital's own."""
    return f"L{keyed(secret, f'code {scheme} {value}')}"


def new_uid(secret: bytes, uid: str) -> str:
    """``2.25.`` and a UUID from HMAC-SHA256 (PS3.5 B.2); the standard's own UIDs stay."""
    bare = uid.strip(" \0")
    if not bare or bare.startswith(WELL_KNOWN):
        return bare
    return f"2.25.{uuid.UUID(bytes=_digest(secret, f'uid {bare}')[:16], version=5).int}"


def shift_days(secret: bytes, key: str, most: int) -> int:
    """By how many days a patient's dates are moved: from ``-most`` to -1, whole, so that intervals and times stay."""
    return -1 - int.from_bytes(_digest(secret, f"shift {key}")[:8], "big") % most


def shift_date(value: str, days: int) -> str:
    """A DICOM date (DA) moved; "" if it is none."""
    match = _DATE.fullmatch(value.strip())
    moved = match and _moved(*match.groups(), days=days)
    return moved or ""


def shift_date_time(value: str, days: int) -> str:
    """A DICOM date and time (DT) moved, with its precision and time zone; "" if it is none."""
    match = _DATE_TIME.fullmatch(value.strip())
    if match is None:
        return ""
    year, month, day, time, zone = match.groups()
    # Where month or day are missing, the middle of what is meant is moved.
    moved = _moved(year, month or "07", day or ("15" if month else "01"), days=days)
    precision = 8 if day else 6 if month else 4
    return moved[:precision] + (time or "") + (zone or "") if moved else ""


def _moved(year: str, month: str, day: str, *, days: int) -> str:
    try:
        return (date(int(year), int(month), int(day)) + timedelta(days=days)).strftime("%Y%m%d").zfill(8)
    except (ValueError, OverflowError):
        return ""


def _digest(secret: bytes, text: str) -> bytes:
    return hmac.new(secret, text.encode(), hashlib.sha256).digest()
