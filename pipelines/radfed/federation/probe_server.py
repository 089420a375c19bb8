"""The health probe's HTTP server: TLS for holders of a certificate of the federation, and little to be had of it.

Python's ``http.server`` has no limits of its own. Here everything has one: connections at a time, seconds of each,
bytes and transfers at a time, so that the probe cannot starve the server that it runs in.
"""

import logging
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from radfed.federation.probe_handler import AnsweringServer, Answers, Caller, Handler, Limits

_POLL = 0.1  # seconds until a stop is seen
_log = logging.getLogger(__name__)


class ProbeServer:
    """Serves ``GET /health``, ``GET /metrics``, ``GET /source?bytes=N`` and ``POST /sink``. Use as a context.

    Args:
        certificate: PEM file that the server shows.
        key: its private key, PEM.
        ca: PEM file of the authority that every caller's certificate must come from.
        facts: what ``/health`` answers; it may hold neither a path nor anything of a patient.
        metrics: what ``/metrics`` answers, Prometheus text.
        revoked: whether a caller is refused although its certificate is valid.
        address: host and port to listen at; port 0 takes a free one.

    Raises:
        OSError: the port is taken, or a file cannot be read.
        ssl.SSLError: certificate and key do not belong together.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        ca: Path,
        facts: Callable[[], Mapping[str, object]],
        *,
        metrics: Callable[[], str] = lambda: "",
        revoked: Callable[[Caller], bool] = lambda _caller: False,
        address: tuple[str, int] = ("127.0.0.1", 0),
        limits: Limits | None = None,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
        self._server = _Server(address, context, Answers(facts, metrics, revoked, limits or Limits()))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL,), name="health_probe", daemon=True
        )

    @property
    def port(self) -> int:
        """The TCP port that it listens at."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; connections that are open end within their limits."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "ProbeServer":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


class _Server(AnsweringServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        answers: Answers,
    ) -> None:
        self.context, self.answers = context, answers
        self._connections = threading.BoundedSemaphore(answers.limits.connections)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind; http.server would also look up the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """One thread a connection, up to the limit; those above it are closed at once."""
        assert isinstance(request, socket.socket)
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread could be started, so none will give the place back.
            self._connections.release()
            raise

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """The connection's thread: shake hands, answer one request, close."""
        assert isinstance(request, socket.socket)
        limits = self.answers.limits
        request.settimeout(limits.silence)
        try:
            with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as connection:
                # Whoever sends a byte now and then keeps within the limit of silence, and not within this one.
                end = threading.Timer(limits.seconds, _cut, [connection])
                end.daemon = True
                end.start()
                try:
                    connection.do_handshake()
                    Handler(connection, client_address, self)
                finally:
                    end.cancel()
        except ssl.SSLError as error:
            _log.info("a connection was refused: %s", error.reason or type(error).__name__)
        except OSError as error:
            _log.info("a connection ended early: %s", type(error).__name__)
        finally:
            request.close()
            self._connections.release()


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
