"""The server as this site reaches it: is the port open, does TLS come up, and whose certificate is shown."""

import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

PATIENCE = 10.0
"""Seconds that a connection or a handshake may take."""

# How long a server may take to say that it does not like our certificate.
_LOOK = 0.5
# A certificate of another CA that has the same name fails as DECRYPT_ERROR: the signature does not fit.
_ABOUT_CERTIFICATES = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")


@dataclass(frozen=True)
class Reached:
    """One attempt to reach a port. Times in seconds, empty when that stage was not reached.

    Attributes:
        connect: TCP handshake.
        handshake: TLS handshake.
        certificate: what the server showed, believed or not.
        trouble: why the attempt ended early, in words.
        refused: the server's own reason to refuse this site's certificate, as TLS words it.
    """

    connect: float | None = None
    handshake: float | None = None
    certificate: x509.Certificate | None = None
    trouble: str | None = None
    refused: str | None = None


def client_context(kit: Path, *, verify: bool = False) -> ssl.SSLContext:
    """TLS as this site's FLARE client speaks it, with the site's own certificate.

    Args:
        kit: the startup kit.
        verify: whether TLS ends a connection to a server that is not this federation's. A doctor wants to see such
            a server's certificate first, and to judge it by name, date and signer with words of its own.

    Raises:
        OSError, ssl.SSLError: a file of the kit is missing, or certificate and key do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Host names are compared by ``speaks_for``: FLARE's certificates may name an address as if it were a host.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.load_verify_locations(kit / "startup" / "rootCA.pem")
    context.load_cert_chain(kit / "startup" / "client.crt", kit / "startup" / "client.key")
    return context


def reach(host: str, port: int, context: ssl.SSLContext, patience: float = PATIENCE) -> Reached:
    """Connect to a port, shake hands and see whether the server takes this site's certificate.

    Args:
        host: name or address.
        port: TCP port.
        context: see ``client_context``.
        patience: seconds for each stage.
    """
    started = time.monotonic()
    try:
        plain = socket.create_connection((host, port), timeout=patience)
    except OSError as error:
        return Reached(trouble=_why(error))
    connect = time.monotonic() - started
    with plain:
        started = time.monotonic()
        try:
            secure = context.wrap_socket(plain, server_hostname=host)
        except (OSError, ValueError) as error:
            return Reached(connect, trouble=_why(error), refused=_alert(error))
        with secure:
            handshake = time.monotonic() - started
            shown = secure.getpeercert(binary_form=True)
            certificate = x509.load_der_x509_certificate(shown) if shown else None
            return Reached(connect, handshake, certificate, refused=_objection(secure))


def latency(host: str, port: int, times: int = 3, patience: float = PATIENCE) -> float:
    """The shortest of some TCP handshakes (s): one round trip.

    Raises:
        OSError: the port cannot be reached.
    """
    taken = []
    for _ in range(times):
        started = time.monotonic()
        socket.create_connection((host, port), timeout=patience).close()
        taken.append(time.monotonic() - started)
    return min(taken)


def _objection(secure: ssl.SSLSocket) -> str | None:
    """In TLS 1.3 a server judges the client's certificate after the handshake; what it says comes with the first read.

    A server of this federation waits for the client's first words. FLARE's closes without any where it does not
    like the certificate.
    """
    secure.settimeout(_LOOK)
    try:
        closed = secure.recv(1) == b""
    except TimeoutError:
        return None
    except OSError as error:
        return _alert(error)
    return "it hangs up without a word" if closed else None


def _alert(error: Exception) -> str | None:
    """The other side's alert about our certificate, or None if the error is something else."""
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    told = "ALERT" in reason and any(word in reason for word in _ABOUT_CERTIFICATES)
    return reason.lower().replace("_", " ") if told else None


def _why(error: Exception) -> str:
    """An error without addresses or paths."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or type(error).__name__).lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
