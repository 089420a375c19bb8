"""Where a PACS is and what of it is asked for, in one line of text."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from radfed.errors import InvalidInputError

STUDY_FILTERS = (
    "AccessionNumber",
    "ModalitiesInStudy",
    "PatientID",
    "StudyDate",
    "StudyDescription",
    "StudyID",
    "StudyInstanceUID",
)
SERIES_FILTERS = (
    "BodyPartExamined",
    "Modality",
    "ProtocolName",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
)
_LISTS = ("Modality", "ModalitiesInStudy", "SeriesInstanceUID", "StudyInstanceUID")
"""Filters whose values hold no comma, so that a comma can part several."""

# Scheme in the text: (scheme, TLS, default port). Port 2762 is DICOM's registered one for TLS (PS3.8, 9.1.2).
_SCHEMES: dict[str, tuple[Literal["dicomweb", "dimse"], bool, int]] = {
    "dicomweb+http": ("dicomweb", False, 80),
    "dicomweb+https": ("dicomweb", True, 443),
    "dimse": ("dimse", False, 104),
    "dimse+tls": ("dimse", True, 2762),
}
_UID = re.compile(r"[0-9.]{1,64}")
_DATE = re.compile(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}")


@dataclass(frozen=True)
class PacsAddress:
    """A PACS and a selection of what it holds.

    Attributes:
        scheme: the protocol family.
        tls: whether the connection is encrypted.
        host: name or IPv4 address.
        port: TCP port.
        path: root of the DICOMweb service, without a slash at its end; empty for DIMSE.
        aet: the PACS's AE title; empty for DICOMweb.
        filters: keyword and value pairs; values of the same keyword are alternatives. They may name a patient,
            so they stand in no message.
    """

    scheme: Literal["dicomweb", "dimse"]
    tls: bool
    host: str
    port: int
    path: str = ""
    aet: str = ""
    filters: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def url(self) -> str:
        """Root of the DICOMweb service."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{self.path}"

    def __str__(self) -> str:
        """For messages: neither credentials nor filters."""
        if self.scheme == "dicomweb":
            return f"dicomweb+{self.url}"
        return f"dimse{'+tls' if self.tls else ''}://{self.aet}@{self.host}:{self.port}"


def parse_address(text: str) -> PacsAddress:
    """Read ``dicomweb+http(s)://host:port/path?filters`` or ``dimse(+tls)://AET@host:port?filters``.

    Raises:
        InvalidInputError: the text is no such address, holds credentials, or a filter is unknown or malformed.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidInputError("the PACS address is malformed: the port must be a number up to 65535") from error
    if parts.scheme not in _SCHEMES:
        raise InvalidInputError(
            f"the PACS address starts with {parts.scheme!r}; allowed: {', '.join(f'{name}://' for name in _SCHEMES)}"
        )
    if parts.password is not None or (parts.username is not None and parts.scheme.startswith("dicomweb")):
        raise InvalidInputError(
            "the PACS address holds credentials; give them as RADFED_PACS_USER and RADFED_PACS_PASSWORD, or in a file"
        )
    scheme, tls, default_port = _SCHEMES[parts.scheme]
    host = parts.hostname or ""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", host):
        raise InvalidInputError("the PACS address needs a host name or an IPv4 address after ://")
    if port == 0 or parts.fragment:
        raise InvalidInputError("the PACS address has port 0 or a part behind #; leave it out")
    return PacsAddress(
        scheme=scheme,
        tls=tls,
        host=host,
        port=port or default_port,
        path=_path(parts, scheme),
        aet=_aet(parts) if scheme == "dimse" else "",
        filters=_filters(parts.query),
    )


def _path(parts: SplitResult, scheme: str) -> str:
    path = parts.path.rstrip("/")
    if path and scheme == "dimse":
        raise InvalidInputError("a dimse:// address has no path; filters follow the port behind a question mark")
    return path


def _aet(parts: SplitResult) -> str:
    """PS3.5, 6.2: 1 to 16 characters, no backslash, no control characters; blanks around it do not count."""
    aet = unquote(parts.username or "").strip()
    if not 1 <= len(aet) <= 16 or not aet.isascii() or not aet.isprintable() or "\\" in aet:
        raise InvalidInputError(
            "a dimse:// address needs the PACS's AE title of 1 to 16 characters: dimse://AET@host:port"
        )
    return aet


def _filters(query: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for keyword, text in parse_qsl(query, keep_blank_values=True):
        if keyword not in STUDY_FILTERS + SERIES_FILTERS:
            raise InvalidInputError(
                f"the PACS address has the unknown filter {keyword!r}; allowed: "
                f"{', '.join(sorted(STUDY_FILTERS + SERIES_FILTERS))}"
            )
        values = text.split(",") if keyword in _LISTS else [text]
        found.extend((keyword, _value(keyword, value.strip())) for value in values)
    return tuple(sorted(set(found)))


def _value(keyword: str, value: str) -> str:
    if not value:
        raise InvalidInputError(f"the PACS address has no value for {keyword}; give one or leave the filter out")
    if "\\" in value or not value.isprintable():
        raise InvalidInputError(f"the value of {keyword} holds a backslash or control character; repeat the filter")
    if keyword.endswith("InstanceUID") and not _UID.fullmatch(value):
        raise InvalidInputError(f"the value of {keyword} is no UID: digits and dots, up to 64; wildcards do not count")
    if keyword == "StudyDate" and not _DATE.fullmatch(value):
        raise InvalidInputError("StudyDate must be YYYYMMDD, or a range: 20240101-, -20241231, 20240101-20241231")
    return value
