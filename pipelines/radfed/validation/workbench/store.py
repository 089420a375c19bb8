"""The workbench's database: SQLite with a write-ahead log, many readers beside one writer, short transactions."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_WAIT_S = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name), csrf TEXT NOT NULL,
    made REAL NOT NULL, seen REAL NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS attempts (user TEXT NOT NULL, address TEXT NOT NULL, time REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cases (
    id TEXT PRIMARY KEY, number INTEGER UNIQUE, name TEXT NOT NULL UNIQUE, patient TEXT NOT NULL,
    digest TEXT NOT NULL, code TEXT NOT NULL UNIQUE, material TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, action TEXT NOT NULL,
    case_id TEXT REFERENCES cases (id), code TEXT, details TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, line INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS events_by_case ON events (action, case_id);
CREATE INDEX IF NOT EXISTS events_pending ON events (id) WHERE line IS NULL;
"""
"""``events`` says what was done; a reader's verdict on a case is the last review of that reader in it, so there is no
second place that could say otherwise. ``line`` is the event's place in the audit chain, null until it is there."""


@dataclass(frozen=True)
class Store:
    """The database of one review.

    Attributes:
        path: its file, for its owner alone.
    """

    path: Path

    def create(self) -> None:
        """Make the file and its tables, where they are not there.

        Raises:
            sqlite3.Error: the file is no database of the workbench, or cannot be written.
        """
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with self._open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_SCHEMA)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A view of the database as it is now; later writes do not change it."""
        with self._open() as db:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: on disk when it is left, or undone by an error."""
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            yield db
        finally:
            db.close()


def get_meta(db: sqlite3.Connection, key: str) -> str | None:
    """A value of the review as a whole."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def set_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a value of the review as a whole."""
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))
