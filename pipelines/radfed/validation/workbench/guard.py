"""What stands before every request: whose host it names, where it comes from, how large it is; and what goes back.

Plain ASGI, so that it sees a request before anything else has read it.
"""

import asyncio
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 64 * 1024
_BODY_WAIT_S = 20.0
_SAFE_METHODS = ("GET", "HEAD")

CONTENT_POLICY = (
    # NiiVue's font and its shading are images in data: addresses; it needs neither workers nor blobs nor WebAssembly.
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=()",
    "cache-control": "no-store",
}
_TLS_HEADERS = {"strict-transport-security": "max-age=31536000"}


@dataclass(frozen=True)
class Place:
    """Where the workbench is found.

    Attributes:
        hosts: values of the Host header that are meant for it, in small letters.
        secure: whether it speaks TLS.
    """

    hosts: frozenset[str]
    secure: bool

    @property
    def origins(self) -> frozenset[str]:
        """The origins of its own pages."""
        return frozenset(f"{'https' if self.secure else 'http'}://{host}" for host in self.hosts)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def place_of(host: str, port: int, certificate: Path | None) -> Place:
    """Where a server is found: under the host that it listens on, and the names in its certificate.

    Raises:
        OSError: the certificate cannot be read.
        ValueError: it is none.
    """
    names = {"127.0.0.1", "localhost", "::1"} if is_loopback(host) else {host}
    if certificate is not None:
        names |= set(_names(x509.load_pem_x509_certificate(certificate.read_bytes())))
    usual = 443 if certificate is not None else 80
    hosts = {f"[{name}]" if ":" in name else name.lower() for name in names}
    return Place(
        frozenset({f"{name}:{port}" for name in hosts} | (hosts if port == usual else set())), certificate is not None
    )


def _names(certificate: x509.Certificate) -> Iterable[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from names.get_values_for_type(x509.DNSName)
    yield from map(str, names.get_values_for_type(x509.IPAddress))


class Guard:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self.app, self.place = app, place
        self.headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
        if place.secure:
            self.headers += [(name.encode(), value.encode()) for name, value in _TLS_HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on with its whole body."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in self.headers if pair[0] not in own)]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(guarded, *refusal)
            return
        body = await _body(scope, receive)
        if isinstance(body, tuple):
            await _answer(guarded, *body)
            return
        await self.app(scope, _replay(body, receive), guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = scope["headers"]
        hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self.place.hosts:
            return 400, "the request names another host than this one"
        if scope["method"] in _SAFE_METHODS:
            return None
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        sites = [value for name, value in headers if name == b"sec-fetch-site"]
        if any(origin not in self.place.origins for origin in origins) or any(
            site not in (b"same-origin", b"none") for site in sites
        ):
            return 403, "the request comes from another page than this one"
        return None


async def _body(scope: Scope, receive: Receive) -> bytes | tuple[int, str]:
    """The whole body, or why it is not taken."""
    too_large = (413, f"a request may have {MOST_BODY // 1024} KiB")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or len(value) > 9 or int(value) > MOST_BODY):
            return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_WAIT_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400, "the request broke off"
                body += bytes(message.get("body", b""))
                if len(body) > MOST_BODY:
                    return too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return 400, "the request came too slowly"


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, for who comes next; then what the client does."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


async def _answer(send: Send, status: int, message: str) -> None:
    content = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
