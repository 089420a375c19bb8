"""A PACS over DICOMweb: QIDO-RS, WADO-RS, STOW-RS (PS3.18).

Queries go through dicomweb-client. Instances do not: it decodes every data set, holds a series in memory and
encodes it anew, while a spool wants the bytes that the PACS sent, and a PACS the bytes that we wrote.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from radfed.imaging.pacs.address import SERIES_FILTERS, STUDY_FILTERS, PacsAddress
from radfed.imaging.pacs.credentials import find_credentials
from radfed.imaging.pacs.failure import PacsError, TransientError, UnsupportedQueryError
from radfed.imaging.pacs.listing import Answer, ListedSeries, first, matches, number_of_instances, queries
from radfed.imaging.pacs.multipart import MultipartError, read_parts
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.pacs.spool import Spool
from radfed.imaging.pacs.tls import client_context

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

# As stored, whatever the compression; and for servers that do not know the parameter, as they like.
_ACCEPT = (
    'multipart/related; type="application/dicom"; transfer-syntax=*',
    'multipart/related; type="application/dicom"',
)
_CHUNK = 1 << 20
_BUSY = (429, 502, 503, 504)


class DicomWeb:
    """One DICOMweb service, spoken to in one session.

    Raises:
        InvalidInputError: credentials or TLS files are not as they should be.
        GateError: others can read a secret.
    """

    def __init__(self, address: PacsAddress, settings: PacsSettings, patience: Patience) -> None:
        from dicomweb_client.api import DICOMwebClient

        for name in ("dicomweb_client", "retrying", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # they log UIDs, filters and what the server says
        self._address, self._settings, self._patience = address, settings, patience
        self._session = _session(address, settings)
        self._client = DICOMwebClient(
            address.url, session=self._session, permissive_uid=True, timeout=settings.timeout, chunk_size=_CHUNK
        )
        if address.port not in (80, 443):
            self._client.host = f"{address.host}:{address.port}"  # it sends this as Host, which names the port too
        self._client.set_http_retry_params(retry=False)  # Patience does that
        self._accept = 0

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def listing(self) -> Iterator[ListedSeries]:
        """What matches the address' filters, series by series."""
        seen = set()
        for study in self._search(self._client.search_for_studies, STUDY_FILTERS, "StudyInstanceUID"):
            within = {"study_instance_uid": first(study, "StudyInstanceUID")}
            for answer in self._search(self._client.search_for_series, SERIES_FILTERS, "SeriesInstanceUID", **within):
                uid = first(answer, "SeriesInstanceUID")
                if uid not in seen:
                    seen.add(uid)
                    yield self._series(within["study_instance_uid"], uid, answer)

    def _series(self, study: str, uid: str, answer: Answer) -> ListedSeries:
        within = {"study_instance_uid": study, "series_instance_uid": uid}
        try:
            instances = list(self._search(self._client.search_for_instances, (), "SOPInstanceUID", **within))
        except UnsupportedQueryError:
            instances = []  # this PACS searches for series only
        return ListedSeries.of(study, uid, number_of_instances(answer), instances)

    def _search(
        self, search: Callable[..., Sequence[object]], level: tuple[str, ...], key: str, **within: str
    ) -> Iterator[Answer]:
        """Each match once, page by page, until a page brings nothing new: so it ends with every server.

        A server may give fewer than were asked for with more to come, or all of them whatever was asked.
        """
        seen: set[str] = set()
        for query in queries(self._address.filters, level):
            offset, fresh = 0, True
            while fresh:
                page = self._patience.run(partial(self._page, search, query, offset, within))
                offset += len(page)
                new = [answer for answer in page if first(answer, key) not in seen | {""}]
                fresh = bool(new)
                seen.update(first(answer, key) for answer in new)
                yield from (answer for answer in new if matches(answer, query))

    def _page(
        self, search: Callable[..., Sequence[object]], query: dict[str, str], offset: int, within: dict[str, str]
    ) -> list[Answer]:
        found = self._guarded(
            lambda: search(**within, limit=self._settings.page, offset=offset, search_filters=query), "a query"
        )
        return [_answer(item) for item in found]

    def fetch(self, series: ListedSeries, lacking: tuple[str, ...] | None, spool: Spool) -> None:
        """Fill the spool with a whole series, or with the instances of it that are lacking.

        Raises:
            TransientError: not everything came.
            PacsError: it is of no use to go on.
        """
        url = f"{self._address.url}/studies/{quote(series.study)}/series/{quote(series.uid)}"
        if lacking is None:
            self._fetch(url, series, spool)
            return
        failed = None
        for name in lacking:
            try:
                self._fetch(f"{url}/instances/{quote(name)}", series, spool)
            except TransientError as error:
                if error.gone:
                    raise
                failed = error  # the others may come
        if failed:
            raise failed

    def _fetch(self, url: str, series: ListedSeries, spool: Spool) -> None:
        self._guarded(lambda: self._stream(url, series, spool), "a retrieval")

    def _stream(self, url: str, series: ListedSeries, spool: Spool) -> None:
        headers = {"Accept": _ACCEPT[self._accept]}
        with self._session.get(url, headers=headers, stream=True, timeout=self._settings.timeout) as response:
            if response.status_code in (400, 406) and self._accept + 1 < len(_ACCEPT):
                self._accept += 1
                raise TransientError(f"{self._address}: does not give files as they are stored")
            if 400 <= response.status_code < 500 and response.status_code not in (401, 403, 407, 408, 429):
                raise TransientError(f"{self._address}: answered HTTP {response.status_code} to a retrieval")
            response.raise_for_status()
            kind = Message()
            kind["content-type"] = response.headers.get("Content-Type", "")
            chunks = response.iter_content(_CHUNK)
            boundary = kind.get_boundary()
            if kind.get_content_maintype() != "multipart" or boundary is None:
                spool.receive(chunks, series)  # some servers send a single instance without its envelope
                return
            for part in read_parts(chunks, boundary.encode()):
                spool.receive(part, series)

    def store(self, path: Path) -> str | None:
        """Send a file; None if the PACS keeps it, else the code that it refused it with.

        Raises:
            TransientError: it may pass.
            PacsError: it is of no use to go on.
        """
        mark = "radfed-7d1f6e0c5b"
        while mark.encode() in (content := path.read_bytes()):
            mark += "x"
        body = (
            f"--{mark}\r\nContent-Type: application/dicom\r\n\r\n".encode() + content + f"\r\n--{mark}--\r\n".encode()
        )
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={mark}',
            "Accept": "application/dicom+json",
        }
        url = f"{self._address.url}/studies"

        def post() -> str | None:
            response = self._session.post(url, data=body, headers=headers, timeout=self._settings.timeout)
            if response.status_code == 409 or response.ok:
                return _refusal(response.status_code, response.content)
            if response.status_code in (400, 415):
                return f"HTTP {response.status_code}"
            response.raise_for_status()
            return f"HTTP {response.status_code}"

        return self._guarded(post, "a file")

    def _guarded(self, call: Callable[[], T], what: str) -> T:
        """Turn what requests raises into ours; its messages hold UIDs, so they are dropped."""
        import requests

        try:
            return call()
        except requests.RequestException as error:
            raise _failure(self._address, error, what) from None
        except MultipartError:
            raise TransientError(f"{self._address}: the answer to {what} was cut short") from None


def _session(address: PacsAddress, settings: PacsSettings) -> "requests.Session":
    import requests

    credentials = find_credentials(settings)
    session = requests.Session()
    session.trust_env = False  # neither ~/.netrc nor a proxy stands between a site and its PACS
    session.max_redirects = 0  # credentials and queries go to the address that was given, and nowhere else
    if address.tls:
        client_context(settings)  # says what is wrong with the files, which requests does not
        session.verify = str(settings.ca_file) if settings.ca_file else True
        session.cert = (str(settings.certificate), str(settings.key)) if settings.certificate else None
    if credentials and credentials.token:
        session.headers["Authorization"] = f"Bearer {credentials.token}"
    elif credentials:
        # As bytes, because requests would encode text as Latin-1 (RFC 7617, 2.1 asks for UTF-8).
        session.auth = requests.auth.HTTPBasicAuth(credentials.user.encode(), credentials.password.encode())
    return session


def _failure(address: PacsAddress, error: "requests.RequestException", what: str) -> PacsError | TransientError:
    import requests

    status = error.response.status_code if error.response is not None else None
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return PacsError(f"{address}: sends us on to another address; give that one")
    if isinstance(error, requests.exceptions.SSLError):
        return PacsError(
            f"{address}: TLS was not agreed on. Is its certificate for this name and signed by ca_file, "
            "and does it want ours?"
        )
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return PacsError(f"{address}: answered {what} with something that is no DICOM JSON; is the path right?")
    if status is None:
        gone = isinstance(error, requests.ConnectionError)
        return TransientError(
            f"{address}: {'cannot be reached' if gone else 'broke off or did not answer in time'}", gone=gone
        )
    if status in (401, 403, 407):
        return PacsError(
            f"{address}: refused us (HTTP {status}); check RADFED_PACS_USER and RADFED_PACS_PASSWORD, "
            "RADFED_PACS_TOKEN or the credentials file, and what that user may do"
        )
    if status in (408, *_BUSY) or (status >= 500 and status != 501):
        wait = _retry_after(error.response.headers.get("Retry-After", "") if error.response is not None else "")
        return TransientError(f"{address}: answered HTTP {status} to {what}", retry_after=wait, gone=status in _BUSY)
    return UnsupportedQueryError(
        f"{address}: answered HTTP {status} to {what}; check the path, and whether it knows every filter"
    )


def _retry_after(text: str) -> float | None:
    """Seconds or a date (RFC 9110, 10.2.3)."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return None


def _answer(item: object) -> Answer:
    """A match in the DICOM JSON model (PS3.18, F.2), reduced to texts, under its keywords."""
    from pydicom.datadict import keyword_for_tag

    if not isinstance(item, dict):
        raise PacsError("the PACS answered a query with something that is no DICOM JSON; is the path right?")
    texts = {}
    for tag, element in item.items():
        keyword = keyword_for_tag(tag) if isinstance(tag, str) and len(tag) == 8 else ""
        values = element.get("Value", []) if isinstance(element, dict) else []
        if keyword and isinstance(values, list):
            texts[keyword] = tuple(str(value) for value in values if isinstance(value, str | int | float))
    return texts


def _refusal(status: int, content: bytes) -> str | None:
    """The failure reason in a STOW-RS answer (PS3.18, 10.5.3 and I.2), None if the instance was kept."""
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        answer = {}
    answer = answer[0] if isinstance(answer, list) and answer else answer
    failed = answer.get("00081198", {}).get("Value", []) if isinstance(answer, dict) else []
    if not failed and status != 409:
        return None
    try:
        return f"0x{int(failed[0]['00081197']['Value'][0]):04X}"
    except (LookupError, TypeError, ValueError):
        return f"HTTP {status}"
