"""Who may do what: names, roles and argon2 passwords, and how often a wrong one may be tried."""

import sqlite3
from dataclasses import dataclass
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import TypeAdapter, ValidationError

from radfed.errors import InvalidInputError
from radfed.validation.workbench.journal import Deed, Journal
from radfed.validation.workbench.words import ROLES, RefusedError, Role, UserName

SHORTEST_PASSWORD, LONGEST_PASSWORD, FEWEST_CHARACTERS = 10, 200, 5
"""The last: how many different ones, so that neither one key held down nor a short name repeated will do."""
WINDOW_S = 300.0
MOST_PER_USER, MOST_PER_ADDRESS = 5, 100
"""Failed logins in the window; the next one has to wait, right or wrong."""

# OWASP's second choice for argon2id: 19 MiB a password, so that many logins at once fit into memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_AT_ONCE = BoundedSemaphore(4)
_NOBODY = _HASHER.hash("nobody has this password")
_ROLE: TypeAdapter[Role] = TypeAdapter(Role)
_NAME: TypeAdapter[str] = TypeAdapter(UserName)


@dataclass(frozen=True)
class User:
    """Somebody who may log in."""

    name: str
    role: Role


def parse_user(text: str) -> User:
    """Read ``NAME:ROLE``.

    Raises:
        InvalidInputError: it is not of that form.
    """
    name, _, role = text.partition(":")
    try:
        return User(_NAME.validate_python(name), _ROLE.validate_python(role))
    except ValidationError as error:
        raise InvalidInputError(
            f"a user must be NAME:ROLE, the name of 1 to 32 of a-z 0-9 . _ - and a letter first, the role one of "
            f"{', '.join(ROLES)}; got {text!r:.60}"
        ) from error


def add_user(journal: Journal, user: User, password: str) -> None:
    """Add somebody, or give somebody who is there a new password; their sessions end.

    Raises:
        InvalidInputError: the password is too short, too long or too simple, or the name has another role already.
        GateError: the audit chain takes nothing more.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInputError(
            f"a password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, got {len(password)}"
        )
    if len(set(password)) < FEWEST_CHARACTERS:
        raise InvalidInputError(
            f"a password must have at least {FEWEST_CHARACTERS} different characters, got {len(set(password))}"
        )
    hashed = _HASHER.hash(password)

    def change(db: sqlite3.Connection) -> None:
        known = db.execute("SELECT role FROM users WHERE name = ?", (user.name,)).fetchone()
        if known is not None and known["role"] != user.role:
            raise InvalidInputError(f"{user.name} is a {known['role']} already; roles do not change, take another name")
        db.execute(
            "INSERT INTO users VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET password = excluded.password",
            (user.name, user.role, hashed),
        )
        db.execute("DELETE FROM sessions WHERE user = ?", (user.name,))

    journal.record(Deed("", "", "user", {"name": user.name, "role": user.role}), change)


def authenticate(journal: Journal, name: str, password: str, address: str, at: float) -> User:
    """Who this is; a wrong password goes into the audit chain.

    Args:
        journal: of the review.
        name: as it was typed.
        password: as it was typed.
        address: from where.
        at: the time (s).

    Raises:
        RefusedError: 401 name or password are wrong, 429 there were too many wrong ones.
    """
    with journal.store.write() as db:
        db.execute("DELETE FROM attempts WHERE time < ?", (at - WINDOW_S,))
        _check_attempts(db, name, address)
        row = db.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        # Counted before it is looked at: many at once must not get more tries than one after the other.
        attempt = db.execute("INSERT INTO attempts VALUES (?, ?, ?)", (name[:64], address, at)).lastrowid
    if not _fits(_NOBODY if row is None else row["password"], password) or row is None:
        journal.record(Deed("", "", "login refused", {}))  # not the name: people type passwords there
        raise RefusedError(401, "the name or the password is wrong")
    with journal.store.write() as db:
        db.execute("DELETE FROM attempts WHERE rowid = ?", (attempt,))
    return User(row["name"], row["role"])


def _check_attempts(db: sqlite3.Connection, name: str, address: str) -> None:
    for column, value, most in (("user", name[:64], MOST_PER_USER), ("address", address, MOST_PER_ADDRESS)):
        count = db.execute(f"SELECT count(*) FROM attempts WHERE {column} = ?", (value,)).fetchone()[0]
        if count >= most:
            raise RefusedError(429, f"too many wrong passwords; wait {WINDOW_S / 60:.0f} minutes")


def _fits(hashed: str, password: str) -> bool:
    if len(password) > LONGEST_PASSWORD:
        return False
    with _AT_ONCE:
        try:
            return _HASHER.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
