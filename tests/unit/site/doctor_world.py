"""A federation's certificates, kits and server, small enough for a test and spoken with real TLS."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nvflare
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from radfed import __version__
from radfed.site.doctor.policies import EGRESS, GUARD

HOST = "127.0.0.1"


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@dataclass(frozen=True)
class Issued:
    certificate: bytes
    key: bytes


class Authority:
    """A CA with a key of its own; two of one name are still two."""

    def __init__(self, name: str = "fed") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign(self._name, self._key, -1, 3650, (), ca=True)

    def issue(self, name: str, *, days: float = 360, begins: float = -1, names: tuple[str, ...] = ()) -> Issued:
        """A certificate that holds from ``begins`` to ``days`` days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return Issued(self._sign(subject, key, begins, days, names or (name,)), _pem(key))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begins: float,
        days: float,
        names: tuple[str, ...],
        ca: bool = False,
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=begins))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def policies() -> dict[str, dict[str, Any]]:
    """The kit's policies, all doors closed."""
    return {
        "resources.json": {
            "format_version": 2,
            "class_list_enforcement_mode": "enforce",
            "class_allow_list": ["radfed.federation.executor.SiteExecutor"],
            "allow_log_streaming": False,
            "client": {"retry_timeout": 30},
            "components": [{"id": "app_deployer", "path": GUARD}],
        },
        "authorization.json": {
            "format_version": "1.0",
            "permissions": {"lead": {"submit_job": "any", "byoc": "none"}, "member": {"view": "any"}},
        },
        "privacy.json": {
            "scopes": [{"name": "radfed", "task_result_filters": [{"path": EGRESS}]}],
            "default_scope": "radfed",
        },
    }


def write_kit(
    kit: Path, root: bytes, own: Issued, site: str = "site-a", *, port: int = 1, probe_port: int | None = 1
) -> Path:
    """A startup kit as FLARE and radfed's provisioning leave it."""
    (kit / "startup").mkdir(parents=True)
    (kit / "local").mkdir()
    (kit / "startup" / "rootCA.pem").write_bytes(root)
    (kit / "startup" / "client.crt").write_bytes(own.certificate)
    (kit / "startup" / "client.key").write_bytes(own.key)
    server = {"name": "fed", "service": {"target": f"{HOST}:{port}", "scheme": "grpc"}, "identity": HOST}
    client = {"servers": [server], "client": {"fqsn": site, "connection_security": "mtls"}}
    (kit / "startup" / "fed_client.json").write_text(json.dumps(client))
    facts = {
        "federation": "fed",
        "participant": site,
        "server": HOST,
        "server_identity": HOST,
        "port": port,
        "probe_port": probe_port,
        "radfed": __version__,
        "nvflare": nvflare.__version__,
    }
    for name, content in {**policies(), "federation.json": facts}.items():
        (kit / "local" / name).write_text(json.dumps(content))
    return kit


@dataclass
class Server:
    """How the server of a test behaves.

    Attributes:
        skew: seconds by which its clock is ahead.
        rate: bytes per second that it takes and gives; 0 for all it can.
        revoked: whether it answers this site with 403.
    """

    port: int = 0
    skew: float = 0.0
    rate: float = 0.0
    revoked: bool = False
    radfed: str = __version__


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if self.behaviour.revoked:
            self._answer(403, {"reason": "revoked"})
        elif where.path == "/health":
            now = datetime.now(UTC) + timedelta(seconds=self.behaviour.skew)
            versions = {"radfed": self.behaviour.radfed, "nvflare": nvflare.__version__}
            self._answer(200, {"federation": "fed", "time": now.isoformat(), "uptime": 1, "clients": [], **versions})
        else:
            size = int(parse_qs(where.query)["bytes"][0])
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            while size > 0:
                block = min(size, 16384)
                self.wfile.write(bytes(block))
                self._wait(block)
                size -= block

    def do_POST(self) -> None:
        left = total = int(self.headers["Content-Length"])
        while left > 0:
            block = len(self.rfile.read(min(left, 16384)))
            self._wait(block)
            left -= block
        self._answer(200, {"bytes": total})

    def _wait(self, size: int) -> None:
        if self.behaviour.rate:
            time.sleep(size / self.behaviour.rate)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler: type[_Handler], context: ssl.SSLContext) -> None:
        super().__init__((HOST, 0), handler)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the standard library's types
        """Shake hands in the connection's own thread; who cannot is sent away."""
        try:
            with self._context.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)
        except OSError:
            return


@contextmanager
def serve(root: bytes, own: Issued, folder: Path, behaviour: Server | None = None) -> Iterator[Server]:
    """A server with mutual TLS that answers like the health probe, in a thread."""
    behaviour = behaviour or Server()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.crt").write_bytes(own.certificate)
    (folder / "server.key").write_bytes(own.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(cadata=root.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    listener = _Listener(type("Handler", (_Handler,), {"behaviour": behaviour}), context)
    behaviour.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield behaviour
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
