"""What has left a site: ``egress.jsonl``, a chain of hashes, and ``egress.head``, which pins its end.

A line is on disk before its message leaves, so a crash can leave a line too many and never one too few. Each line's
hash covers the line and the hash of the line before, so no line can be edited, removed, moved or put in between
unseen; the head pins the last one, so that none can be cut off. Whoever may write both files can still write another
history: see docs/how-to/egress.md for what that means.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from radfed.errors import GateError
from radfed.settings import Settings

LOG_FILE, HEAD_FILE = "egress.jsonl", "egress.head"
START = "0" * 64
"""What the first line names as the hash before it."""

_TAIL = 1 << 20


class Message(Settings):
    """One message that leaves: an update, metrics alone, or an error reply."""

    campaign: str | None = None
    job: str = Field(description="FLARE's id of the job")
    round: int | None = None
    task: str = Field(description="What the server asked for")
    status: str = Field(default="OK", description="FLARE's return code; anything but OK is an error reply")
    digest: str | None = Field(default=None, description="SHA-256 of the tensors, as the server's ledger names it")
    tensors: int = Field(default=0, description="How many arrays leave")
    bytes: int = Field(default=0, description="Their size")
    metrics: dict[str, float | int | str | bool | None] = Field(default={}, description="All numbers and codes beside")
    filters: tuple[str, ...] = Field(default=(), description="Filters that the message went through, in order")


class Sent(Message):
    """A message as it stands in the log."""

    event: Literal["sent"] = "sent"
    index: int
    time: str
    previous: str
    hash: str = ""


class Torn(Settings):
    """A crash had cut the line before short; its message did not leave."""

    event: Literal["torn"] = "torn"
    index: int
    time: str
    fragment: str = Field(description="SHA-256 of what is left of the line")
    previous: str
    hash: str = ""


Line = Sent | Torn
LineT = TypeVar("LineT", Sent, Torn)


@dataclass(frozen=True)
class Verdict:
    """What a check of the log found.

    Attributes:
        lines: the lines that are whole, in order.
        problems: what is wrong, one sentence each; empty if nothing is.
        notes: traces of a crash, which are no fault of anybody.
    """

    lines: tuple[Line, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def append(site_folder: Path, message: Message) -> Sent:
    """Write a message that is about to leave, and force it to disk.

    Raises:
        GateError: the log's end is not as it was left, so nothing may be added to it.
        OSError: the log cannot be written.
    """
    with _opened(site_folder / LOG_FILE) as log:
        head = _read_head(site_folder)
        last, residue, ended = _end(_tail(log), head)
        index, previous = (last.index + 1, last.hash) if last else (0, START)
        if last and head != (last.index, last.hash):
            # A crash came before the last line was pinned. It is pinned now, or a second crash would leave two such.
            _pin(site_folder, last)
        text = b"" if ended else b"\n"
        if residue:
            torn = _sealed(Torn(index=index, time=_now(), fragment=_sha(residue), previous=previous))
            text += _encoded(torn)
            index, previous = torn.index + 1, torn.hash
        sent = _sealed(Sent(**message.model_dump(), index=index, time=_now(), previous=previous))
        log.write(text + _encoded(sent))
        log.flush()
        os.fsync(log.fileno())
        _pin(site_folder, sent)
        return sent


def verify(site_folder: Path) -> Verdict:
    """Follow the chain from its first line to the pinned end. A site from which nothing has left has no log.

    Raises:
        OSError: the log cannot be read.
    """
    try:
        with (site_folder / LOG_FILE).open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH)
            content, head = log.read(), _read_head(site_folder)
    except FileNotFoundError:
        content, head = b"", _read_head(site_folder)
    texts, _ = _texts(content)
    lines, problems, notes = _follow(texts)
    problem, note = _against_head(lines[-2:], head)
    if head is not None and head[0] < len(lines) and lines[head[0]].hash != head[1]:
        problem = f"line {head[0]} of the chain is not the one that {HEAD_FILE} pins"
    problems += [problem] if problem else []
    notes += [note] if note else []
    return Verdict(tuple(lines), tuple(problems), tuple(notes))


def _follow(texts: list[bytes]) -> tuple[list[Line], list[str], list[str]]:
    """The whole lines, what is wrong with them, and what crashes left."""
    lines: list[Line] = []
    problems: list[str] = []
    notes: list[str] = []
    residue: list[bytes] = []
    for number, text in enumerate(texts, start=1):
        line = _parsed(text)
        if line is None:
            residue.append(text)
            continue
        where = f"line {number}"
        torn = line.fragment if isinstance(line, Torn) else None
        if torn != (_sha(b"\n".join(residue)) if residue else None):
            problems.append(f"{where}: before it stands text that is no line and that no crash explains")
        elif residue:
            notes.append(f"{where}: a crash had cut the line before short; its message did not leave")
        if line.hash != _hash(line):
            problems.append(f"{where}: was changed; its hash does not fit")
        if line.previous != (lines[-1].hash if lines else START) or line.index != len(lines):
            problems.append(f"{where}: does not follow the line before it; lines were removed, added or moved")
        lines.append(line)
        residue = []
    if residue:
        notes.append("the last line was cut short by a crash; its message did not leave")
    return lines, problems, notes


def _against_head(last: list[Line], head: tuple[int, str] | None) -> tuple[str, str]:
    """What is wrong at the end of the log, and what a crash explains.

    A crash can come after a line was written and before it was pinned; then one line follows the pinned one, or two
    if the first of them records an earlier crash.

    Args:
        last: the last two lines, or what there is of them.
        head: index and hash that are pinned.
    """
    pinned = -1 if head is None else head[0]
    end = last[-1].index if last else -1
    beyond = end - pinned
    if beyond < 0:
        return f"lines were cut off: {HEAD_FILE} pins line {pinned}, the log ends with line {end}", ""
    if head is not None and any(line.index == pinned and line.hash != head[1] for line in last):
        return f"line {pinned} of the chain is not the one that {HEAD_FILE} pins", ""
    if beyond > 2 or (beyond == 2 and not isinstance(last[0], Torn)):
        return f"{beyond} lines follow the one that {HEAD_FILE} pins; it is missing, or they were added", ""
    return "", "a crash came after the last line was written and before it was pinned" if beyond else ""


def _end(tail: bytes, head: tuple[int, str] | None) -> tuple[Line | None, bytes, bool]:
    """The last whole line, what a crash left after it, and whether that is ended.

    Raises:
        GateError: the end does not agree with the head.
    """
    texts, ended = _texts(tail)
    whole = [(number, line) for number, line in enumerate(map(_parsed, texts)) if line is not None]
    last = [line for _, line in whole[-2:]]
    residue = b"\n".join(texts[whole[-1][0] + 1 :] if whole else texts)
    problem, _ = _against_head(last, head)
    if last and last[-1].hash != _hash(last[-1]):
        problem = f"the last line of {LOG_FILE} was changed"
    if problem:
        raise GateError(f"nothing may leave: {problem}; see radfed site egress SITE --verify")
    return (last[-1] if last else None), residue, ended


def _texts(content: bytes) -> tuple[list[bytes], bool]:
    """The lines of a log without their ends, and whether the last one has its end."""
    *texts, rest = content.split(b"\n")
    return ([*texts, rest], False) if rest else (texts, True)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedRandom]:
    """The log, to be read and added to, for one process at a time; a new one only its owner may read."""
    new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        if new:
            _sync_folder(path.parent)
        yield log


def _tail(log: BufferedRandom) -> bytes:
    """The last lines, whole ones but for a crash."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _TAIL))
    content = log.read()
    return content if size <= _TAIL else content.partition(b"\n")[2]


def _read_head(site_folder: Path) -> tuple[int, str] | None:
    try:
        content = json.loads((site_folder / HEAD_FILE).read_text(encoding="utf-8"))
        return int(content["index"]), str(content["hash"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _pin(site_folder: Path, line: Line) -> None:
    """Note the chain's end beside the log, in a file that only its owner may read or write."""
    beside = site_folder / f".{HEAD_FILE}.partial"
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps({"index": line.index, "hash": line.hash}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, site_folder / HEAD_FILE)
    _sync_folder(site_folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(text: bytes) -> Line | None:
    try:
        content = json.loads(text)
        kind: type[Line] = Torn if content.get("event") == "torn" else Sent
        return kind.model_validate(content)
    except (ValueError, AttributeError, ValidationError, RecursionError):
        return None


def _sealed(line: LineT) -> LineT:
    return line.model_copy(update={"hash": _hash(line)})


def _hash(line: Line) -> str:
    return _sha(json.dumps(line.model_dump(mode="json", exclude={"hash"}), sort_keys=True).encode())


def _encoded(line: Line) -> bytes:
    return line.model_dump_json().encode() + b"\n"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
