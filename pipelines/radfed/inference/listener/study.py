"""One study in the queue: how its files are named, and what is written down about it."""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self

from radfed.settings import Settings

SUFFIX, REFUSED = ".dcm", ".refused"
RECORD, TRIES = "record.json", "tries"
_DIGITS = 32


class State(StrEnum):
    """Where a study is; each is a folder, and a study goes from one to the next by being renamed."""

    INCOMING = "incoming"
    QUEUED = "queued"
    WORKING = "working"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"


class Record(Settings):
    """``record.json``: what became of a study. It stays at the site; nothing in it names a patient.

    Attributes:
        reason: code of why it failed; None if it did not.
        message: the same for people.
        results: folders below ``results``, one a case.
        instances: how many images the study had.
        seconds: that the model took, reading and writing included.
        sent: whether SEG and SR were sent; None if that was not asked for.
        ended: seconds since 1970.
        closed: whether the images were removed, so that nothing can be added any more.
    """

    reason: str | None = None
    message: str | None = None
    results: tuple[str, ...] = ()
    instances: int = 0
    seconds: float = 0.0
    sent: bool | None = None
    ended: float = 0.0
    closed: bool = False


@dataclass(frozen=True)
class Name:
    """An instance's file: named by digests of its SOPInstanceUID and of its content, never by what it says."""

    instance: str
    content: str

    @classmethod
    def of(cls, sop_instance: str, transfer_syntax: str, content: bytes) -> Self:
        """The name of an instance; equal data sets in one transfer syntax have one name."""
        digest = hashlib.sha256(f"{transfer_syntax}\n".encode())
        digest.update(content)
        return cls(digest_of(sop_instance), digest.hexdigest()[:_DIGITS])

    @classmethod
    def read(cls, file: str) -> Self:
        """From a file's name."""
        instance, content = file.removesuffix(SUFFIX).split("-")
        return cls(instance, content)

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.instance}-{self.content}{SUFFIX}"


@dataclass
class Known:
    """What the queue remembers of a study while it runs.

    Attributes:
        contents: content by instance, of all that is on the disk.
        refused: instances that did not get in and have not come again.
        size: of all files (bytes).
        last: when something of it came (s, monotonic).
        associations: that are open and have sent something of it.
        closed: whether its images were removed.
    """

    contents: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    size: int = 0
    last: float = 0.0
    associations: set[int] = field(default_factory=set)
    closed: bool = False

    def learn(self, folder: Path) -> None:
        """Take up what lies in one of the study's folders."""
        for path in folder.iterdir():
            if path.suffix == SUFFIX:
                name = Name.read(path.name)
                self.contents[name.instance] = name.content
                self.size += path.stat().st_size
            elif path.suffix == REFUSED:
                self.refused.add(path.stem)
        self.refused -= set(self.contents)


def digest_of(uid: str) -> str:
    """What stands for a UID on disk and in messages."""
    return hashlib.sha256(uid.encode()).hexdigest()[:_DIGITS]


def read_record(folder: Path) -> Record:
    """The record of a study, empty if there is none yet."""
    path = folder / RECORD
    return Record.model_validate_json(path.read_bytes()) if path.exists() else Record()
