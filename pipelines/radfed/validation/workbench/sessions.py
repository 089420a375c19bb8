"""Sessions: a random token in a cookie, its hash in the database, and a second token against forged requests."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from radfed.validation.workbench.store import Store
from radfed.validation.workbench.users import User
from radfed.validation.workbench.words import RefusedError, Role

COOKIE, CSRF_HEADER = "radfed_session", "X-CSRF-Token"
IDLE_S, LONGEST_S = 30 * 60.0, 12 * 3600.0
_TOUCH_S = 30.0
_UNKNOWN = RefusedError(401, "log in first; sessions end after 30 minutes without a request, and after 12 hours")


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in.

    Attributes:
        user: who.
        role: as what.
        csrf: what every request that changes something must carry.
        hashed: of the token, as the database knows it.
    """

    user: str
    role: Role
    csrf: str
    hashed: str


def begin(store: Store, user: User, at: float) -> tuple[str, Session]:
    """Log somebody in at a time (s): the token for the cookie, and the session."""
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with store.write() as db:
        db.execute("DELETE FROM sessions WHERE seen < ? OR made < ?", (at - IDLE_S, at - LONGEST_S))
        db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", (_hash(token), user.name, csrf, at, at))
    return token, Session(user.name, user.role, csrf, _hash(token))


def find(store: Store, token: str | None, at: float) -> Session:
    """Who a token is, at a time (s).

    Raises:
        RefusedError: 401 there is no such session, or it has ended.
    """
    if not token:
        raise _UNKNOWN
    hashed = _hash(token)
    with store.read() as db:
        row = db.execute(
            "SELECT user, role, csrf, made, seen FROM sessions JOIN users ON name = user WHERE token = ?", (hashed,)
        ).fetchone()
    if row is None or at - row["seen"] > IDLE_S or at - row["made"] > LONGEST_S:
        raise _UNKNOWN
    if at - row["seen"] > _TOUCH_S:  # not at each request: reading must not need the database's one writer
        with store.write() as db:
            db.execute("UPDATE sessions SET seen = ? WHERE token = ?", (at, hashed))
    return Session(row["user"], row["role"], row["csrf"], hashed)


def check_csrf(session: Session, sent: str | None) -> None:
    """Refuse a change that the page did not ask for.

    Raises:
        RefusedError: 403 the token is missing or wrong.
    """
    if not sent or not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        raise RefusedError(403, f"the header {CSRF_HEADER} is missing or wrong; load the page again")


def end(store: Store, session: Session) -> None:
    """Log somebody out."""
    with store.write() as db:
        db.execute("DELETE FROM sessions WHERE token = ?", (session.hashed,))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
