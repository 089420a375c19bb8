"""An administrator's startup kit: what it says, and why a server does not take it."""

import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from radfed.errors import GateError, InvalidInputError

ADMIN_FILE = "startup/fed_admin.json"
_OTHER_KITS = ("startup/fed_client.json", "startup/fed_server.json")
_CERTIFICATE, _KEY, _AUTHORITY = "startup/client.crt", "startup/client.key", "startup/rootCA.pem"
_TIMEOUT = 5.0


@dataclass(frozen=True)
class AdminKit:
    """What an administrator's startup kit says of itself.

    Attributes:
        folder: the kit; it holds ``startup/`` and ``local/``.
        user: the name in its certificate.
        federation: the federation's name.
        host: the server as this kit reaches it.
        port: the server's port.
        expires: when the certificate ends (UTC).
    """

    folder: Path
    user: str
    federation: str
    host: str
    port: int
    expires: datetime


def read_admin_kit(folder: Path, now: datetime | None = None) -> AdminKit:
    """Read an administrator's startup kit.

    Args:
        folder: the kit.
        now: the time to judge its certificate by; default is the clock's.

    Raises:
        InvalidInputError: the folder is no administrator's kit, or a file in it cannot be read.
        GateError: its certificate has ended, or has not begun.
    """
    try:
        content = json.loads((folder / ADMIN_FILE).read_text(encoding="utf-8"))["admin"]
        certificate = x509.load_pem_x509_certificate((folder / _CERTIFICATE).read_bytes())
        user = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        host, port = str(content["host"]), int(content["port"])
        federation = str(content["project_name"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        if any((folder / other).is_file() for other in _OTHER_KITS):
            raise InvalidInputError(
                f"{folder}: is the kit of a server or a site; give the kit of a person, with {ADMIN_FILE}"
            ) from error
        raise InvalidInputError(
            f"{folder}: is no readable startup kit of a person ({type(error).__name__}); "
            f"give the folder that holds {ADMIN_FILE}, as nvflare provision wrote it"
        ) from error
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    now = now or datetime.now(UTC)
    if now >= expires:
        raise GateError(
            f"{folder}: the certificate of {user} ended on {expires:%Y-%m-%d}; ask the federation for a new kit"
        )
    if now < begins:
        raise GateError(
            f"{folder}: the certificate of {user} begins on {begins:%Y-%m-%d %H:%M} UTC; check this machine's clock"
        )
    return AdminKit(folder, user, federation, host, port, expires)


def why_refused(kit: AdminKit) -> str | None:
    """Why the server does not take the kit's certificate, or the kit the server's; None when TLS is not the reason.

    FLARE itself says only that it cannot connect.
    """
    context = ssl.create_default_context(cafile=str(kit.folder / _AUTHORITY))
    # FLARE checks the server's name itself; here only the two certificates are of interest.
    context.check_hostname = False
    try:
        context.load_cert_chain(kit.folder / _CERTIFICATE, kit.folder / _KEY)
        with (
            socket.create_connection((kit.host, kit.port), timeout=_TIMEOUT) as raw,
            context.wrap_socket(raw, server_hostname=kit.host) as secure,
        ):
            # With TLS 1.3 a server refuses a client's certificate only after the handshake.
            secure.sendall(f"GET / HTTP/1.1\r\nHost: {kit.host}\r\nConnection: close\r\n\r\n".encode())
            secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the server at {kit.host}:{kit.port} has a certificate that this kit does not trust "
            f"({error.verify_message}); take the kit of the federation that this server belongs to"
        )
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return None  # a server that is just being started or stopped cuts the connection
        return (
            f"the server at {kit.host}:{kit.port} refused the certificate of {kit.user} "
            f"({error.reason}); ask the federation for a new kit"
        )
    except OSError:
        return None
    return None
