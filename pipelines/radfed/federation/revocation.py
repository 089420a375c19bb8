"""Certificates that the server no longer accepts: refused at registration, dropped while running, without a restart.

FLARE can disable a client by name, but then a new certificate for that name is refused as well, what the client's
running jobs send still passes, and no command of FLARE's stops an admin. This list stops names and single
certificates, of sites and of admins, for all that they send.
"""

import hashlib
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey, ProcessType
from nvflare.apis.fl_context import FLContext
from nvflare.fuel.f3.cellnet.core_cell import make_reply
from nvflare.fuel.f3.cellnet.defs import IdentityChallengeKey, MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.message import Message
from nvflare.private.defs import CellChannel, CellChannelTopic, CellMessageHeaderKeys
from pydantic import Field

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.settings import Settings

REVOKED_FILE, ADMITTED_FILE = "revoked.json", "admitted.json"
REASON = "radfed:revoked"
"""What a refused participant finds in its log."""

_LOOK = 1.0
# An admin's console makes a session of its own each time; older ones are long closed.
_SESSIONS = 20

Serial = Annotated[str, Field(pattern=r"^[0-9A-F]+$")]


class Revoked(Settings):
    """One entry: a participant, or one certificate of it."""

    name: str = Field(min_length=1, description="Name of the site or the admin")
    serial: Serial | None = Field(
        default=None, description="Serial number of the one certificate, in hexadecimal; null: all of that name"
    )
    since: datetime
    reason: str = ""


class Revocations(Settings):
    """``<server kit>/local/revoked.json``."""

    revoked: tuple[Revoked, ...] = ()

    def covers(self, name: str, serial: str | None) -> bool:
        """Whether a participant that shows a certificate is refused.

        Args:
            name: of the participant.
            serial: of its certificate; None if it is not known, which then counts as any revoked one of that name.
        """
        return any(
            entry.name == name and (entry.serial is None or serial in (None, entry.serial)) for entry in self.revoked
        )

    def write(self, kit: Path) -> None:
        """Write the list into a server's kit; a running server takes it up within seconds."""
        put_text(kit / "local" / REVOKED_FILE, self.model_dump_json(indent=2) + "\n")


def read_revocations(kit: Path) -> Revocations:
    """The list in a server's kit; empty if there is no file.

    Raises:
        InvalidInputError: the file is there but cannot be understood.
    """
    path = kit / "local" / REVOKED_FILE
    return Revocations.read(path) if path.is_file() else Revocations()


def revoke(kit: Path, name: str, serial: str | None, reason: str = "") -> Revocations:
    """Add an entry to the list in a server's kit.

    Raises:
        InvalidInputError: the list there cannot be understood.
    """
    entry = Revoked(name=name, serial=serial, since=datetime.now(UTC).replace(microsecond=0), reason=reason)
    changed = Revocations(revoked=(*read_revocations(kit).revoked, entry))
    changed.write(kit)
    return changed


def serial_of(certificate: bytes) -> str:
    """The serial number of the first certificate in PEM text, as ``openssl x509 -serial`` writes it.

    Raises:
        ValueError: the text holds no certificate.
    """
    return f"{x509.load_pem_x509_certificates(certificate)[0].serial_number:X}"


class RevocationList(FLComponent):  # type: ignore[misc] # nvflare has no types
    """Watches ``local/revoked.json`` of the server's kit and keeps out who stands there.

    Stands in the server's ``resources.json``. If the list cannot be read, the server does not start; if it becomes
    unreadable while the server runs, the last good one stays in force.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kit = Path.cwd()
        self._list = Revocations()
        self._stamp: tuple[int, int] | None = None
        self._admitted: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server: Any = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Take up the watch in the server's parent process; its jobs have no need of it."""
        if fl_ctx.get_process_type() != ProcessType.SERVER_PARENT:
            return
        if event_type == EventType.SYSTEM_BOOTSTRAP:
            self._begin(fl_ctx)
        elif event_type == EventType.SYSTEM_END:
            self._ended.set()

    def _begin(self, fl_ctx: FLContext) -> None:
        self._server = fl_ctx.get_prop(FLContextKey.SITE_OBJ)
        self._kit = Path(fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_root_dir())
        self._list, self._stamp = read_revocations(self._kit), _stamp(self._kit)
        self._admitted = _read_admitted(self._kit)
        # FLARE fires an event when a client registers, but neither it nor a filter shows the certificate that was
        # verified, together with the token that the client gets for it.
        manager = self._server.client_manager
        self._stock = manager.authenticate
        manager.authenticate = self._authenticate
        cell = self._server.cell.core_cell
        cell.add_incoming_request_filter(CellChannel.SERVER_MAIN, "*", self._refuse)
        cell.add_incoming_filter("*", "*", self._drop)
        threading.Thread(target=self._watch, name="revocation", daemon=True).start()

    def _authenticate(self, request: Message, fl_ctx: FLContext) -> object:
        """Ours, and then FLARE's own authentication; returns the client, or None if it is refused."""
        name = request.get_header(CellMessageHeaderKeys.CLIENT_NAME)
        # Not yet verified; but who shows a revoked certificate is refused whether it is his or not, and before FLARE
        # ends the session of another client of that name.
        serial = serial_of(request.payload[IdentityChallengeKey.CERT])
        if self._list.covers(name, serial):
            self.logger.warning(f"{REASON}: refused the registration of {name}, certificate {serial}")
            fl_ctx.set_prop(FLContextKey.UNAUTHENTICATED, REASON, sticky=False)
            return None
        client = self._stock(request, fl_ctx)
        if client is not None:
            self._admit(client.name, client.token, serial)
        return client

    def _admit(self, name: str, token: str, serial: str) -> None:
        with self._lock:
            sessions = self._admitted.get(name, {}) | {_digest(token): serial}
            self._admitted = self._admitted | {name: dict(list(sessions.items())[-_SESSIONS:])}
            put_text(self._kit / ADMITTED_FILE, json.dumps(self._admitted, indent=2) + "\n")

    def _covers(self, message: Message) -> bool:
        name = message.get_header(CellMessageHeaderKeys.CLIENT_NAME)
        token = message.get_header(CellMessageHeaderKeys.TOKEN)
        if not name or not self._list.revoked:
            return False
        return self._list.covers(name, self._admitted.get(name, {}).get(_digest(token or "")))

    def _drop(self, message: Message) -> Message | None:
        """Stop what goes to the server's jobs or to other sites; FLARE sends no answer."""
        if message.get_header(MessageHeaderKey.CHANNEL) == CellChannel.SERVER_MAIN or not self._covers(message):
            return None
        return make_reply(ReturnCode.UNAUTHENTICATED, REASON)

    def _refuse(self, message: Message) -> Message | None:
        """Answer what goes to the server itself, so that the participant's log says why it is out."""
        begins = (CellChannelTopic.Challenge, CellChannelTopic.Register)
        if message.get_header(MessageHeaderKey.TOPIC) in begins or not self._covers(message):
            return None
        return make_reply(ReturnCode.UNAUTHENTICATED, REASON)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            stamp = _stamp(self._kit)
            if stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                self._list = read_revocations(self._kit)
            except InvalidInputError as error:
                self.logger.error(f"{REVOKED_FILE} cannot be read, the last good list stays in force: {error}")
                continue
            self.logger.info(f"{REVOKED_FILE} holds {len(self._list.revoked)} entries")
            self._drop_present()

    def _drop_present(self) -> None:
        """Log out the clients that the new list covers; FLARE tells their jobs, as of a client that died."""
        for token, client in list(self._server.client_manager.get_clients().items()):
            serial = self._admitted.get(client.name, {}).get(_digest(token))
            if self._list.covers(client.name, serial):
                self.logger.warning(f"{REASON}: dropped {client.name}, certificate {serial}")
                self._server.logout_client(token)


def _read_admitted(kit: Path) -> dict[str, dict[str, str]]:
    """Which certificate each session was given for, by the digest of its token; sessions outlive the server."""
    path = kit / ADMITTED_FILE
    if not path.is_file():
        return {}
    content: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _digest(token: str) -> str:
    """A token is a password; the file holds what cannot be used as one."""
    return hashlib.sha256(token.encode()).hexdigest()


def _stamp(kit: Path) -> tuple[int, int] | None:
    try:
        found = (kit / "local" / REVOKED_FILE).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
