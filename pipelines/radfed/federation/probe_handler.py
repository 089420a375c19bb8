"""What the health probe says to one request of one caller."""

import json
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from radfed.errors import InvalidInputError

LARGEST = 256 * 1024**2
"""Bytes of one transfer to ``/sink`` or from ``/source``."""

_BLOCK = 64 * 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who asks, by the certificate that TLS has checked."""

    name: str
    serial: str


@dataclass(frozen=True)
class Limits:
    """What the probe allows itself."""

    connections: int = 16
    transfers: int = 2
    silence: float = 10.0
    """Seconds without a byte."""
    seconds: float = 120.0
    """Of one connection."""
    bytes: int = LARGEST


@dataclass(frozen=True)
class Answers:
    """What is answered, and to whom not."""

    facts: Callable[[], Mapping[str, object]]
    metrics: Callable[[], str]
    revoked: Callable[[Caller], bool]
    limits: Limits
    transfers: threading.BoundedSemaphore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "transfers", threading.BoundedSemaphore(self.limits.transfers))


class AnsweringServer(ThreadingHTTPServer):
    """A server that has answers for its handlers."""

    answers: Answers


class Handler(BaseHTTPRequestHandler):
    """One request of one caller."""

    server: AnsweringServer
    protocol_version = "HTTP/1.1"  # for "Expect: 100-continue"; each connection still serves one request only
    server_version, sys_version = "radfed", ""
    routes: ClassVar[Mapping[tuple[str, str], str]] = {
        ("GET", "/health"): "_health",
        ("GET", "/metrics"): "_metrics",
        ("GET", "/source"): "_source",
        ("POST", "/sink"): "_sink",
    }

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer("POST")

    def handle_expect_100(self) -> bool:
        """Invite the body only of a caller and a request that will be served."""
        return True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing: callers' addresses are no business of a log, and the answers speak for themselves."""

    def _answer(self, method: str) -> None:
        self.close_connection = True
        try:
            refused = self.server.answers.revoked(_caller(self.connection))
        except InvalidInputError as error:
            _log.error("nobody is answered, because the list of revoked certificates cannot be read: %s", error)
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "revocations_unreadable"})
            return
        if refused:
            self._send(HTTPStatus.FORBIDDEN, {"reason": "revoked"})
            return
        route = self.routes.get((method, urlsplit(self.path).path))
        if route is None:
            self._send(HTTPStatus.NOT_FOUND, {"reason": "unknown_path"})
            return
        try:
            getattr(self, route)()
        except OSError:
            raise
        except Exception as error:  # whatever the server's own facts do: the thread must end quietly, the caller know
            _log.error("%s failed: %s", route, type(error).__name__)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, {"reason": "internal"})

    def _health(self) -> None:
        self._send(HTTPStatus.OK, self.server.answers.facts())

    def _metrics(self) -> None:
        self._send_text(HTTPStatus.OK, self.server.answers.metrics(), "text/plain; version=0.0.4; charset=utf-8")

    def _sink(self) -> None:
        size = _number(self.headers.get("Content-Length"))
        self._transfer_of(size, self._count, HTTPStatus.LENGTH_REQUIRED, "length_required")

    def _count(self, size: int) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        started, left = time.monotonic(), size
        while left and (block := self.rfile.read1(min(left, _BLOCK))):
            left -= len(block)
        self._send(HTTPStatus.OK, {"bytes": size - left, "seconds": round(time.monotonic() - started, 6)})

    def _source(self) -> None:
        values = parse_qs(urlsplit(self.path).query).get("bytes", [])
        size = _number(values[0]) if len(values) == 1 else None
        self._transfer_of(size, self._give, HTTPStatus.BAD_REQUEST, "bytes_required")

    def _transfer_of(self, size: int | None, work: Callable[[int], None], missing: HTTPStatus, reason: str) -> None:
        """Move so many bytes, if it was said how many, they are not too many, and a transfer is free."""
        limit = self.server.answers.limits.bytes
        if size is None:
            self._send(missing, {"reason": reason})
        elif size > limit:
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"reason": "too_large", "limit": limit})
        else:
            with self._transfer() as may:
                if may:
                    work(size)

    def _give(self, size: int) -> None:
        self._head(HTTPStatus.OK, "application/octet-stream", size)
        block = os.urandom(min(size, _BLOCK))
        for at in range(0, size, _BLOCK):
            self.wfile.write(block[: size - at])

    def _too_large(self) -> None:
        limit = self.server.answers.limits.bytes
        self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"reason": "too_large", "limit": limit})

    @contextmanager
    def _transfer(self) -> Iterator[bool]:
        """A place for a transfer; yields False, and has said so, if all are taken."""
        if not self.server.answers.transfers.acquire(blocking=False):
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"reason": "busy"})
            yield False
            return
        try:
            yield True
        finally:
            self.server.answers.transfers.release()

    def _send(self, status: HTTPStatus, content: Mapping[str, object]) -> None:
        self._send_text(status, json.dumps(content), "application/json")

    def _send_text(self, status: HTTPStatus, text: str, kind: str) -> None:
        body = text.encode()
        self._head(status, kind, len(body))
        self.wfile.write(body)
        if status != HTTPStatus.OK:
            self._drain()

    def _head(self, status: HTTPStatus, kind: str, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.send_header("Connection", "close")
        self.end_headers()

    def _drain(self) -> None:
        """Take a little of a body that nobody wants: closing with bytes unread would cut off the answer, too."""
        left = min(_number(self.headers.get("Content-Length")) or 0, 16 * _BLOCK)
        self.connection.settimeout(1.0)
        try:
            while left and (block := self.rfile.read1(min(left, _BLOCK))):
                left -= len(block)
        except OSError:
            return


def _caller(connection: socket.socket) -> Caller:
    assert isinstance(connection, ssl.SSLSocket)
    certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None  # TLS lets nobody in without
    parsed = x509.load_der_x509_certificate(certificate)
    names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Caller(str(names[0].value) if names else "", f"{parsed.serial_number:X}")


def _number(text: str | None) -> int | None:
    """A plain count of bytes; None for everything else."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None
