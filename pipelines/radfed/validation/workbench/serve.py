"""Serve a review: on loopback, or elsewhere with TLS."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from radfed.errors import GateError, InvalidInputError
from radfed.validation.workbench.app import make_app
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.guard import is_loopback, place_of

_KEEP_ALIVE_S, _MOST_AT_ONCE, _SHUTDOWN_S = 15, 500, 10


@dataclass(frozen=True)
class Door:
    """Where to listen.

    Attributes:
        host: name or address.
        port: of TCP.
        certificate: PEM; None is plain HTTP.
        key: PEM of the certificate's key.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    certificate: Path | None = None
    key: Path | None = None

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.certificate is None else 'https'}://{host}:{self.port}/"


def check_door(door: Door) -> None:
    """Refuse a door that is not safe, or that cannot be opened.

    Raises:
        GateError: it leads beyond this machine without TLS.
        InvalidInputError: certificate and key are not both there, or do not fit.
    """
    if not 1 <= door.port <= 65535:
        raise InvalidInputError(f"the port must be from 1 to 65535, got {door.port}")
    if (door.certificate is None) != (door.key is None):
        raise InvalidInputError("TLS needs both --tls-cert and --tls-key")
    if door.certificate is None:
        if not is_loopback(door.host):
            raise GateError(
                f"{door.host} can be reached from other machines, and passwords would pass in the clear: "
                "give --tls-cert and --tls-key, or leave --host out"
            )
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(door.certificate, door.key)
        place_of(door.host, door.port, door.certificate)
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"the certificate and its key cannot be used ({type(error).__name__}); give PEM files that fit each other"
        ) from error


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._on_ready()


def serve(bench: Bench, door: Door, on_ready: Callable[[str], None] = lambda address: None) -> None:
    """Serve until interrupted.

    Args:
        bench: the review.
        door: where.
        on_ready: told the address before the first request.

    Raises:
        GateError: the door leads beyond this machine without TLS.
        InvalidInputError: the door cannot be opened, or something else listens there.
    """
    check_door(door)
    app = make_app(bench, place_of(door.host, door.port, door.certificate))
    config = uvicorn.Config(
        app,
        host=door.host,
        port=door.port,
        ssl_certfile=door.certificate,
        ssl_keyfile=door.key,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        limit_concurrency=_MOST_AT_ONCE,
    )
    try:
        _Server(config, lambda: on_ready(door.address)).run()
    except SystemExit as error:  # uvicorn's way to say so
        raise InvalidInputError(
            f"{door.address} cannot be listened on; is another workbench there? give another --port"
        ) from error
