"""What was done in a review, in the database and in the audit chain, in one and the same order.

An event is committed to the database first, with its details; then its line, which holds their digest, goes into the
chain; only then is the request answered. A kill in between leaves an event without a line, and the next event or the
next start writes that line before anything else. So each event has one line and each line one event.
"""

import fcntl
import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from radfed.chain import Chain, Head, Verdict, now
from radfed.errors import GateError
from radfed.metrics.signoff import UNDONE, AuditHead, AuditLine
from radfed.signatures import PrivateKey, Signed, public_pem
from radfed.validation.workbench.folder import StateFolder
from radfed.validation.workbench.store import Store

_HINT = "the review can be read, but nothing can be added or signed; keep the folder as it is and ask who runs it"


@dataclass(frozen=True)
class Deed:
    """Something that is about to be done.

    Attributes:
        user: who does it; empty where nobody has logged in.
        role: as what.
        action: what is done.
        details: all of it, as JSON can hold it; they stay in the database.
        case_id: token of the case, if it is about one.
    """

    user: str
    role: str
    action: str
    details: Mapping[str, object]
    case_id: str | None = None


@dataclass(frozen=True)
class Journal:
    """The events of one review and their chain.

    Attributes:
        folder: where both lie.
        store: the database.
        review: random name of the review.
        key: signs the chain's head.
    """

    folder: StateFolder
    store: Store
    review: str
    key: PrivateKey

    def record(self, deed: Deed, inside: Callable[[sqlite3.Connection], None] = lambda db: None) -> AuditLine:
        """Do something and write it down; when this returns, both are on disk.

        Args:
            deed: what is done.
            inside: checks and changes that belong into the same transaction; what it raises undoes all.

        Raises:
            GateError: the chain's end is not as it was left; nothing was done.
        """
        details = json.dumps({**deed.details, "nonce": secrets.token_hex(16)}, sort_keys=True)
        digest = hashlib.sha256(details.encode()).hexdigest()
        with self._alone():
            self._catch_up()
            self._check_head()
            self.chain.last()
            with self.store.write() as db:
                inside(db)
                db.execute(
                    "INSERT INTO events (time, user, role, action, case_id, code, details, digest)"
                    " VALUES (?, ?, ?, ?, ?, (SELECT code FROM cases WHERE id = ?), ?, ?)",
                    (now(), deed.user, deed.role, deed.action, deed.case_id, deed.case_id, details, digest),
                )
                event = db.execute("SELECT * FROM events WHERE digest = ?", (digest,)).fetchone()
            return self._write_line(event)

    def recover(self) -> None:
        """Write the line that a kill has left out.

        Raises:
            GateError: the chain's end is not as it was left.
        """
        with self._alone():
            self._catch_up()

    def check(self) -> tuple[Verdict[AuditLine], tuple[str, ...]]:
        """Follow the whole chain and compare it with the database.

        Returns:
            The chain, and all that is wrong with it or between the two.
        """
        with self._alone():
            found = self.chain.verify()
            with self.store.read() as db:
                events = db.execute("SELECT * FROM events ORDER BY id").fetchall()
        problems = list(found.problems)
        try:
            self._check_head()
        except GateError as error:
            problems.append(str(error))
        lines = [line for line in found.lines if isinstance(line, AuditLine)]
        if len(lines) != len(events):
            problems.append(f"the chain tells of {len(lines)} event(s), the database of {len(events)}")
        problems += [
            f"event {event['id']} in the database is not what line {line.index + 1} of the chain says"
            for event, line in zip(events, lines, strict=False)
            if not _agree(event, line)
        ]
        return found, tuple(problems)

    @property
    def chain(self) -> Chain[AuditLine]:
        """The audit chain; its head is signed."""
        return Chain(
            log=self.folder.audit,
            head=self.folder.head,
            kind=AuditLine,
            write_head=self._signed_head,
            read_head=self._read_head,
            refusal="the audit chain was changed",
            hint=_HINT,
            undone=UNDONE,
        )

    def _signed_head(self, index: int, digest: str) -> str:
        return Signed.make(AuditHead(review=self.review, index=index, hash=digest), self.key).model_dump_json()

    def _read_head(self, text: str) -> Head | None:
        try:
            signed = Signed.model_validate_json(text)
            head = signed.read_as(AuditHead)
        except (ValueError, GateError):
            return None
        ours = signed.public_key == public_pem(self.key) and head.review == self.review
        return (head.index, head.hash) if ours else None

    def _check_head(self) -> None:
        """A head that is there must be of this review and signed by its key: no crash leaves another one."""
        if not self.folder.head.exists():
            return
        if self._read_head(self.folder.head.read_text(encoding="utf-8", errors="replace")) is None:
            raise GateError(f"the audit chain was changed: its head is not signed with this review's key; {_HINT}")

    def _catch_up(self) -> None:
        with self.store.read() as db:
            pending = db.execute("SELECT * FROM events WHERE line IS NULL ORDER BY id").fetchall()
        if pending:
            self._check_head()
        for event in pending:
            last = self.chain.last()
            if isinstance(last, AuditLine) and last.digest == event["digest"]:
                self._note_line(event["id"], last.index)
            else:
                self._write_line(event)

    def _write_line(self, event: sqlite3.Row) -> AuditLine:
        content: dict[str, Any] = {key: event[key] for key in ("time", "user", "role", "action", "digest")}
        line = self.chain.append(
            lambda index, _, previous: AuditLine(**content, case=event["code"], index=index, previous=previous)
        )
        self._note_line(event["id"], line.index)
        return line

    def _note_line(self, event: int, index: int) -> None:
        with self.store.write() as db:
            db.execute("UPDATE events SET line = ? WHERE id = ?", (index, event))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One event at a time, over all threads and processes."""
        with self.folder.lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _agree(event: sqlite3.Row, line: AuditLine) -> bool:
    said = (event["time"], event["user"], event["role"], event["action"], event["code"], event["digest"])
    return (
        said == (line.time, line.user, line.role, line.action, line.case, line.digest)
        and event["digest"] == hashlib.sha256(event["details"].encode()).hexdigest()
        and event["line"] in (None, line.index)
    )
