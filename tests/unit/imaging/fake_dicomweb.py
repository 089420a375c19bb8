"""A DICOMweb service on loopback that misbehaves as told."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

LEAK = "DOE^JANE 4711"
"""What the server writes into its errors, and what must stand in none of ours."""


def tiny_dicom(study: str, series: str, instance: str, filler: int = 200) -> bytes:
    """A file with UIDs and little else."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(instance)
    dataset.PatientID = LEAK
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.Rows = dataset.Columns = 1
    dataset.BitsAllocated = 8
    dataset.PixelData = b"\x07" * filler
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


@dataclass(frozen=True)
class Reply:
    """A response in place of the right one. ``send`` bytes of the body are sent, if not all."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = LEAK.encode()
    send: int | None = None


@dataclass
class FakePacs:
    """One study ``1.1``; series to instances.

    Attributes:
        series: SeriesInstanceUID to SOPInstanceUIDs.
        most: the server's own limit on a page.
        ignores_paging: it always answers with everything.
        lists_instances: whether it can search for instances.
        trouble: may give a reply in place of the right one: from path, Accept and how often it was asked for that.
        asked: how often each path was asked for.
    """

    series: dict[str, list[str]]
    most: int = 1000
    ignores_paging: bool = False
    lists_instances: bool = True
    patient: str = "P1"
    trouble: Callable[[str, str, int], Reply | None] = lambda path, accept, times: None
    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0

    def reply(self, target: str, accept: str) -> Reply:
        """What to answer to a GET."""
        parts = urlsplit(target)
        self.asked[parts.path] += 1
        wrong = self.trouble(parts.path, accept, self.asked[parts.path])
        if wrong:
            return wrong
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/studies":
            return self._page(query, [{"0020000D": _uid("1.1"), "00100020": {"vr": "LO", "Value": [self.patient]}}])
        if parts.path == "/studies/1.1/series":
            return self._page(
                query,
                [
                    {"0020000E": _uid(uid), "00201209": {"vr": "IS", "Value": [len(instances)]}}
                    for uid, instances in self.series.items()
                ],
            )
        found = re.fullmatch(r"/studies/1\.1/series/([\d.]+)(/instances)?(?:/([\d.]+))?", parts.path)
        if found is None or found[1] not in self.series:
            return Reply(404)
        if found[2] and not found[3]:
            if not self.lists_instances:
                return Reply(501)
            return self._page(query, [{"00080018": _uid(uid)} for uid in self.series[found[1]]])
        return self.files(found[1], [found[3]] if found[3] else self.series[found[1]])

    def _page(self, query: dict[str, str], found: list[dict[str, object]]) -> Reply:
        if not self.ignores_paging:
            start = int(query.get("offset", 0))
            found = found[start : start + min(self.most, int(query.get("limit", self.most)))]
        if not found:
            return Reply(204, body=b"")
        return Reply(200, {"Content-Type": "application/dicom+json"}, json.dumps(found).encode())

    def files(self, series: str, instances: list[str]) -> Reply:
        """A multipart answer."""
        parts = [tiny_dicom("1.1", series, uid) for uid in instances]
        body = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts)
        kind = 'multipart/related; type="application/dicom"; boundary="x"'
        return Reply(200, {"Content-Type": kind}, body + b"--x--\r\n")


def _uid(value: str) -> dict[str, object]:
    return {"vr": "UI", "Value": [value]}


@contextmanager
def serving(pacs: FakePacs) -> Iterator[FakePacs]:
    """The service runs inside."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 20  # header and body in one piece: two would cost 40 ms of delayed acknowledgement

        def do_GET(self) -> None:
            self._answer(pacs.reply(self.path, self.headers.get("Accept", "")))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            pacs.asked[self.path] += 1
            self._answer(pacs.trouble(self.path, "", pacs.asked[self.path]) or Reply(body=b"{}"))

        def _answer(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.send])
            if reply.send is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    pacs.port = server.server_port
    try:
        yield pacs
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
