"""What has left a site: ``egress.jsonl``, a chain of hashes, and ``egress.head``, which pins its end.

A line is on disk before its message leaves, so a crash can leave a line too many and never one too few. Whoever may
write both files can still write another history: see docs/how-to/egress.md for what that means.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from radfed import chain
from radfed.chain import Chain, Head, Link, Torn
from radfed.settings import Settings

LOG_FILE, HEAD_FILE = "egress.jsonl", "egress.head"


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


class _Leaving(Message):
    event: Literal["sent"] = "sent"


class Sent(Link, _Leaving):
    """A message as it stands in the log."""


Line = Sent | Torn
Verdict = chain.Verdict[Sent]


def append(site_folder: Path, message: Message) -> Sent:
    """Write a message that is about to leave, and force it to disk.

    Raises:
        GateError: the log's end is not as it was left, so nothing may be added to it.
        OSError: the log cannot be written.
    """
    return _chain(site_folder).append(
        lambda index, time, previous: Sent(**message.model_dump(), index=index, time=time, previous=previous)
    )


def verify(site_folder: Path) -> Verdict:
    """Follow the chain from its first line to the pinned end. A site from which nothing has left has no log.

    Raises:
        OSError: the log cannot be read.
    """
    return _chain(site_folder).verify()


def _chain(site_folder: Path) -> Chain[Sent]:
    return Chain(
        log=site_folder / LOG_FILE,
        head=site_folder / HEAD_FILE,
        kind=Sent,
        write_head=lambda index, hash_: json.dumps({"index": index, "hash": hash_}),
        read_head=_read_head,
        refusal="nothing may leave",
        hint="see radfed site egress SITE --verify",
        undone="its message did not leave",
    )


def _read_head(text: str) -> Head | None:
    try:
        content = json.loads(text)
        return int(content["index"]), str(content["hash"])
    except (ValueError, KeyError, TypeError):
        return None
