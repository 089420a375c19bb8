"""The federation's health probe as a site asks it: HTTPS with the kit's certificate, from the standard library."""

import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError

from radfed.errors import RadfedError
from radfed.settings import Settings
from radfed.site.doctor.server import PATIENCE, client_context

_BLOCK = 64 * 1024


class ProbeError(RadfedError):
    """The probe did not answer as it should. ``reason`` is the server's own, such as ``revoked``, where it gave one."""

    reason = "probe_failed"

    def __init__(self, message: str, reason: str = "probe_failed") -> None:
        super().__init__(message)
        self.reason = reason


class Health(Settings):
    """What the server says of itself at ``GET /health``; what a later server adds is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    federation: str
    radfed: str
    nvflare: str
    time: datetime | float = Field(description="The server's clock: ISO 8601, or seconds since 1970")

    @property
    def clock(self) -> datetime:
        """The server's clock, UTC."""
        if isinstance(self.time, datetime):
            return self.time if self.time.tzinfo else self.time.replace(tzinfo=UTC)
        return datetime.fromtimestamp(self.time, UTC)


class Probe:
    """One connection to the probe. Use as a context.

    Args:
        kit: the startup kit, whose certificate is shown.
        host: the server.
        port: of the probe.
        patience: seconds without a byte after which a call gives up.

    Raises:
        ProbeError: the server cannot be reached, or does not take the certificate.
    """

    def __init__(self, kit: Path, host: str, port: int, patience: float = PATIENCE) -> None:
        try:
            context = client_context(kit, verify=True)
            self._connection = http.client.HTTPSConnection(host, port, timeout=patience, context=context)
            self._connection.connect()
        except (OSError, ssl.SSLError) as error:
            raise ProbeError(f"cannot be reached ({_name(error)})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def health(self) -> tuple[Health, datetime]:
        """What the server says, and this machine's time at the middle of the call.

        Raises:
            ProbeError: no answer, or one that says no.
        """
        before = time.time()
        content = self._json("GET", "/health")
        middle = datetime.fromtimestamp((before + time.time()) / 2, UTC)
        try:
            return Health.model_validate(content), middle
        except ValidationError as error:
            raise ProbeError("answered /health with something else than the health of a server") from error

    def upload(self, size: int) -> float:
        """Seconds to send so many bytes and have them counted.

        Raises:
            ProbeError: they did not all arrive.
        """
        self._connected()
        block = os.urandom(min(size, _BLOCK))
        # Block by block, so that the patience is for each of them and not for the whole.
        body = (block[: size - at] for at in range(0, size, _BLOCK))
        started = time.monotonic()
        content = self._json("POST", "/sink", body, {"Content-Length": str(size)})
        taken = time.monotonic() - started
        counted = content.get("bytes")
        if counted != size:
            raise ProbeError(f"counted {counted} of {size} bytes sent to /sink")
        return taken

    def download(self, size: int) -> float:
        """Seconds to receive so many bytes.

        Raises:
            ProbeError: they did not all arrive.
        """
        self._connected()
        started, got = time.monotonic(), 0
        try:
            self._connection.request("GET", f"/source?bytes={size}")
            answer = self._connection.getresponse()
            _expect_ok(answer, "/source")
            while block := answer.read(_BLOCK):
                got += len(block)
        except (OSError, http.client.HTTPException) as error:
            raise ProbeError(f"stopped in the middle of /source ({_name(error)})") from error
        if got != size:
            raise ProbeError(f"sent {got} of {size} bytes from /source")
        return time.monotonic() - started

    def _connected(self) -> None:
        """Shake hands again if the server has closed: what is measured is the transfer."""
        if self._connection.sock is None:
            try:
                self._connection.connect()
            except OSError as error:
                raise ProbeError(f"cannot be reached ({_name(error)})") from error

    def _json(
        self, method: str, path: str, body: Iterator[bytes] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            self._connection.request(method, path, body=body, headers=headers or {})
            answer = self._connection.getresponse()
            _expect_ok(answer, path)
            content = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise ProbeError(f"gave no answer to {path} ({_name(error)})") from error
        except ValueError as error:
            raise ProbeError(f"answered {path} with something else than JSON") from error
        return content if isinstance(content, dict) else {}


def _expect_ok(answer: http.client.HTTPResponse, path: str) -> None:
    """Raises ``ProbeError`` with the server's reason if it says no."""
    if answer.status == http.HTTPStatus.OK:
        return
    try:
        reason = str(json.loads(answer.read())["reason"])
    except (ValueError, KeyError, TypeError):
        reason = "probe_failed"
    raise ProbeError(f"answered {path} with status {answer.status} ({reason})", reason)


def _name(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
    return (reason or type(error).__name__).lower().replace("_", " ")
