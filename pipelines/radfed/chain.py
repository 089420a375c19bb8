"""A log that shows what was done to it: lines chained by their hashes, and a head that pins the last one.

A line is on disk before what it tells of goes on, so a crash can leave a line too many and never one too few. Each
line's hash covers the line and the hash of the line before, so no line can be edited, removed, moved or put in between
unseen; the head pins the last one, so that none can be cut off. Whoever may write the log and make a head can still
write another history.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedRandom
from itertools import islice
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, ValidationError

from radfed.errors import GateError
from radfed.files import move, sync, write_new
from radfed.settings import Settings

START = "0" * 64
"""What the first line names as the hash before it."""

_TAIL = 1 << 20


class Link(Settings):
    """What makes a record a line of a chain."""

    index: int
    time: str
    previous: str
    hash: str = ""


class _Fragment(Settings):
    event: Literal["torn"] = "torn"
    fragment: str = Field(description="SHA-256 of what is left of the line")


class Torn(Link, _Fragment):
    """A crash had cut the line before short; what it told of did not happen."""


LinkT = TypeVar("LinkT", bound=Link)
Head = tuple[int, str]
"""Index and hash of the last line."""


@dataclass(frozen=True)
class Verdict(Generic[LinkT]):
    """What a check of a chain found.

    Attributes:
        lines: the lines that are whole, in order.
        problems: what is wrong, one sentence each; empty if nothing is.
        notes: traces of a crash, which are no fault of anybody.
    """

    lines: tuple[LinkT | Torn, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Chain(Generic[LinkT]):
    """A chain on disk, for any number of processes at once.

    Attributes:
        log: the file of its lines.
        head: the file that pins its end.
        kind: its lines; ``Torn`` ones apart.
        write_head: the text that pins an end.
        read_head: what such a text pins; None if it is none.
        refusal: begins the message when nothing may be added.
        hint: ends it: what to do.
        undone: what a line that was cut short means for the reader.
    """

    log: Path
    head: Path
    kind: type[LinkT]
    write_head: Callable[[int, str], str]
    read_head: Callable[[str], Head | None]
    refusal: str
    hint: str
    undone: str

    def append(self, make: Callable[[int, str, str], LinkT]) -> LinkT:
        """Add a line and force it to disk.

        Args:
            make: gives the line for its index, time and the hash before it.

        Raises:
            GateError: the log's end is not as it was left, so nothing may be added to it.
            OSError: the log cannot be written.
        """
        with _opened(self.log) as log:
            head = self._pinned()
            last, residue, ended = self._end(_tail(log), head)
            index, previous = (last.index + 1, last.hash) if last else (0, START)
            if last and head != (last.index, last.hash):
                # A crash came before the last line was pinned. It is pinned now, or a second crash would leave two.
                self._pin(last)
            text = b"" if ended else b"\n"
            if residue:
                torn = sealed(Torn(index=index, time=now(), fragment=_sha(residue), previous=previous))
                text += _encoded(torn)
                index, previous = torn.index + 1, torn.hash
            line = sealed(make(index, now(), previous))
            log.write(text + _encoded(line))
            log.flush()
            os.fsync(log.fileno())
            self._pin(line)
            return line

    def last(self) -> LinkT | Torn | None:
        """The last whole line, once the end agrees with the head.

        Raises:
            GateError: the log's end is not as it was left.
            OSError: the log cannot be read.
        """
        with _opened(self.log) as log:
            return self._end(_tail(log), self._pinned())[0]

    def verify(self) -> Verdict[LinkT]:
        """Follow the chain from its first line to the pinned end; one without lines has no files.

        Raises:
            OSError: the log cannot be read.
        """
        try:
            with self.log.open("rb") as log:
                fcntl.flock(log, fcntl.LOCK_SH)
                content, head = log.read(), self._pinned()
        except FileNotFoundError:
            content, head = b"", self._pinned()
        found = follow(content, self.kind, self.undone)
        problem, note = self._against_head(list(found.lines[-2:]), head)
        if head is not None and head[0] < len(found.lines) and found.lines[head[0]].hash != head[1]:
            problem = f"line {head[0]} of the chain is not the one that {self.head.name} pins"
        problems, notes = (problem,) if problem else (), (note,) if note else ()
        return Verdict(found.lines, found.problems + problems, found.notes + notes)

    def _against_head(self, last: list[LinkT | Torn], head: Head | None) -> tuple[str, str]:
        """What is wrong at the end of the log, and what a crash explains.

        A crash can come after a line was written and before it was pinned; then one line follows the pinned one, or
        two if the first of them records an earlier crash.

        Args:
            last: the last two lines, or what there is of them.
            head: what is pinned.
        """
        pinned = -1 if head is None else head[0]
        end = last[-1].index if last else -1
        beyond = end - pinned
        if beyond < 0:
            return f"lines were cut off: {self.head.name} pins line {pinned}, the log ends with line {end}", ""
        if head is not None and any(line.index == pinned and line.hash != head[1] for line in last):
            return f"line {pinned} of the chain is not the one that {self.head.name} pins", ""
        if beyond > 2 or (beyond == 2 and not isinstance(last[0], Torn)):
            return f"{beyond} lines follow the one that {self.head.name} pins; it is missing, or they were added", ""
        return "", "a crash came after the last line was written and before it was pinned" if beyond else ""

    def _end(self, tail: bytes, head: Head | None) -> tuple[LinkT | Torn | None, bytes, bool]:
        """The last whole line, what a crash left after it, and whether that is ended.

        Raises:
            GateError: the end does not agree with the head.
        """
        texts, ended = _texts(tail)
        backwards = ((number, _parsed(texts[number], self.kind)) for number in reversed(range(len(texts))))
        whole = list(islice(((number, line) for number, line in backwards if line is not None), 2))
        last = [line for _, line in reversed(whole)]
        residue = b"\n".join(texts[whole[0][0] + 1 :] if whole else texts)
        problem, _ = self._against_head(last, head)
        if last and last[-1].hash != hash_of(last[-1]):
            problem = f"the last line of {self.log.name} was changed"
        if problem:
            raise GateError(f"{self.refusal}: {problem}; {self.hint}")
        return (last[-1] if last else None), residue, ended

    def _pinned(self) -> Head | None:
        try:
            return self.read_head(self.head.read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def _pin(self, line: Link) -> None:
        """Note the chain's end beside the log, in a file that only its owner may read or write."""
        beside = self.head.with_name(f".{self.head.name}.partial")
        beside.unlink(missing_ok=True)
        write_new(beside, (self.write_head(line.index, line.hash) + "\n").encode())
        move(beside, self.head)


def follow(content: bytes, kind: type[LinkT], undone: str) -> Verdict[LinkT]:
    """Follow a chain from its first line to its last; whether that is the last one, only a head can say.

    Args:
        content: of the log.
        kind: its lines.
        undone: what a line that was cut short means for the reader.
    """
    lines: list[LinkT | Torn] = []
    problems: list[str] = []
    notes: list[str] = []
    residue: list[bytes] = []
    for number, text in enumerate(_texts(content)[0], start=1):
        line = _parsed(text, kind)
        if line is None:
            residue.append(text)
            continue
        where = f"line {number}"
        torn = line.fragment if isinstance(line, Torn) else None
        if torn != (_sha(b"\n".join(residue)) if residue else None):
            problems.append(f"{where}: before it stands text that is no line and that no crash explains")
        elif residue:
            notes.append(f"{where}: a crash had cut the line before short; {undone}")
        if line.hash != hash_of(line):
            problems.append(f"{where}: was changed; its hash does not fit")
        if line.previous != (lines[-1].hash if lines else START) or line.index != len(lines):
            problems.append(f"{where}: does not follow the line before it; lines were removed, added or moved")
        lines.append(line)
        residue = []
    if residue:
        notes.append(f"the last line was cut short by a crash; {undone}")
    return Verdict(tuple(lines), tuple(problems), tuple(notes))


def sealed(line: LinkT) -> LinkT:
    """The line with its hash."""
    return line.model_copy(update={"hash": hash_of(line)})


def hash_of(line: Link) -> str:
    """SHA-256 of everything in a line but its hash."""
    return _sha(json.dumps(line.model_dump(mode="json", exclude={"hash"}), sort_keys=True).encode())


def now() -> str:
    """The time of a line, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _parsed(text: bytes, kind: type[LinkT]) -> LinkT | Torn | None:
    try:
        content = json.loads(text)
        wanted: type[LinkT | Torn] = Torn if content.get("event") == "torn" else kind
        return wanted.model_validate(content)
    except (ValueError, AttributeError, ValidationError, RecursionError):
        return None


@contextmanager
def _opened(path: Path) -> Iterator[BufferedRandom]:
    """The log, to be read and added to, for one process at a time; a new one only its owner may read."""
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        if new:
            sync(path.parent)
        yield log


def _texts(content: bytes) -> tuple[list[bytes], bool]:
    """The lines of a log without their ends, and whether the last one has its end."""
    *texts, rest = content.split(b"\n")
    return ([*texts, rest], False) if rest else (texts, True)


def _tail(log: BufferedRandom) -> bytes:
    """The last lines, whole ones but for a crash."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL))
    content = log.read()
    return content if size <= _TAIL else content.partition(b"\n")[2]


def _encoded(line: Link) -> bytes:
    return line.model_dump_json().encode() + b"\n"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
