"""Whether a participant is alive, as a container's health check: ``python -m radfed.federation.health KIT``.

A process that runs proves nothing: a client with an expired kit tries again for ever. A site is healthy if the server
answered one of its heartbeats lately; a server, if its own probe answers.
"""

import argparse
import json
import socket
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from radfed.errors import InvalidInputError, RadfedError

HEALTH_FILE = "health.json"
MAX_AGE = 60.0
"""Seconds since the last answer after which a site counts as cut off; it sends a heartbeat every 10 s."""

_PATIENCE = 5.0


class UnhealthyError(RadfedError):
    """The participant is not what it should be; the message says in a word why."""

    reason = "unhealthy"


def check_site(kit: Path, max_age: float = MAX_AGE, now: float | None = None) -> float:
    """Check a site's client by its last heartbeat.

    Args:
        kit: folder of the startup kit, in which the client runs.
        max_age: seconds since the last answer that are still well.
        now: seconds since 1970; the clock's if None.

    Returns:
        Seconds since the server's last answer.

    Raises:
        UnhealthyError: the client is not registered, or got no answer lately.
    """
    try:
        content = json.loads((kit / HEALTH_FILE).read_text(encoding="utf-8"))
        at, registered = float(content["time"]), content["registered"] is True
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnhealthyError(f"no heartbeat on record ({type(error).__name__}); did the client ever start?") from error
    age = (time.time() if now is None else now) - at
    if not registered:
        raise UnhealthyError("the client is not registered with the server")
    # A clock that was set back makes an age negative; such a record proves nothing either.
    if not -max_age <= age <= max_age:
        raise UnhealthyError(f"the server's last answer is {age:.0f} s old, allowed are {max_age:.0f} s")
    return age


def check_server(kit: Path) -> Mapping[str, object]:
    """Ask the probe of the server that runs from a kit on this machine.

    Returns:
        What ``/health`` says.

    Raises:
        InvalidInputError: the kit does not say which port the probe has.
        UnhealthyError: the probe does not answer, or another server does.
    """
    try:
        port = int(json.loads((kit / "local" / "federation.json").read_text(encoding="utf-8"))["probe_port"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{kit}: local/federation.json does not name the probe's port") from error
    startup = kit / "startup"
    context = ssl.create_default_context(cafile=str(startup / "rootCA.pem"))
    context.load_cert_chain(startup / "server.crt", startup / "server.key")
    # The server is asked by its address on this machine; that it is this very server, its certificate shows.
    context.check_hostname = False
    own = load_pem_x509_certificates((startup / "server.crt").read_bytes())[0].public_bytes(Encoding.DER)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as plain,
            context.wrap_socket(plain) as connection,
        ):
            if connection.getpeercert(binary_form=True) != own:
                raise UnhealthyError("another server answers on the probe's port")
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError as error:
        raise UnhealthyError(f"the probe does not answer ({type(error).__name__})") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(maxsplit=2)[1:2] != [b"200"]:
        raise UnhealthyError("the probe answers with an error")
    content: dict[str, object] = json.loads(body)
    return content


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one kit; prints a line and returns 0 (healthy), 1 (not) or 2 (no such kit)."""
    parser = argparse.ArgumentParser(prog="python -m radfed.federation.health", description=__doc__)
    parser.add_argument("kit", type=Path, help="folder of the startup kit, in which the participant runs")
    parser.add_argument("--max-age", type=float, default=MAX_AGE, help="seconds since the last answer (sites)")
    given = parser.parse_args(arguments)
    try:
        if (given.kit / "startup" / "fed_server.json").is_file():
            check_server(given.kit)
            print("healthy: the server's probe answers")
        elif (given.kit / "startup" / "fed_client.json").is_file():
            print(f"healthy: the server answered {check_site(given.kit, given.max_age):.0f} s ago")
        else:
            raise InvalidInputError(f"{given.kit}: no startup kit; give the folder that holds startup/")
    except RadfedError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
