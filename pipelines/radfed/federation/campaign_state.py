"""A campaign as its driver remembers it: ``campaign.json`` in the run folder, whole at any moment."""

import fcntl
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.job import CampaignName
from radfed.ledger import Outcome
from radfed.settings import Settings

STATE_FILE = "campaign.json"
FLARE_FOLDER = "flare"
"""Folder of the run with the exported job, which every link submits again."""
_LOCK = ".driver.lock"

LinkEnd = Literal["done", "ended", "lost", "awaiting_approval", "refused", "not_scheduled"]
"""``done``: the campaign ended with it. ``ended``: it did its rounds. ``lost``: it broke off."""


class Link(Settings):
    """One FLARE job of the chain."""

    number: int
    job_id: str | None = Field(default=None, description="FLARE's; empty while the submission is under way")
    submitted: float = Field(description="Seconds since the epoch")
    ended: float | None = Field(default=None, description="Seconds since the epoch")
    status: str | None = Field(default=None, description="FLARE's last word on it")
    end: LinkEnd | None = None
    reason: str | None = Field(default=None, description="Why it ended so: a code")
    rounds: int = Field(default=0, description="Rounds that it brought")


class CampaignState(Settings):
    """Which FLARE jobs a campaign has had, and how it ended."""

    campaign: CampaignName
    driver: str = Field(description="Random; part of every submission's token, so that two run folders never share one")
    links: tuple[Link, ...] = ()
    outcome: Outcome | None = Field(default=None, description="Set once the results lie in the run folder")

    @classmethod
    def new(cls, campaign: str) -> Self:
        """A campaign without links."""
        return cls(campaign=campaign, driver=secrets.token_hex(4))

    @property
    def running(self) -> Link | None:
        """The link that has not ended."""
        return self.links[-1] if self.links and self.links[-1].end is None else None

    @property
    def lost_in_a_row(self) -> int:
        """Links since the last new round that should have brought one and did not."""
        count = 0
        for link in reversed(self.links):
            if link.rounds:
                break
            count += link.end in ("lost", "ended")
        return count

    def token(self, link: Link) -> str:
        """What makes a submission the same one when it is sent twice."""
        return f"radfed.{self.campaign[:80]}.{self.driver}.{link.number}"

    def begin(self, now: float) -> Self:
        """With a new link."""
        return self.model_copy(update={"links": (*self.links, Link(number=len(self.links) + 1, submitted=now))})

    def update(self, **changes: object) -> Self:
        """With changes to the last link."""
        *before, last = self.links
        changed = Link.check(last.model_dump() | changes, STATE_FILE)
        return self.model_copy(update={"links": (*before, changed)})

    def count_rounds(self, rounds: Mapping[str, int]) -> Self:
        """With the rounds that each link brought, by FLARE's ids; a killed server tells them only to the next link."""
        links = tuple(
            link.model_copy(update={"rounds": max(link.rounds, rounds.get(str(link.job_id), 0))}) for link in self.links
        )
        return self.model_copy(update={"links": links})

    def write(self, run: Path) -> Self:
        """Write ``campaign.json`` beside its place and put it there whole."""
        put_text(run / STATE_FILE, self.model_dump_json(indent=2) + "\n", durable=True)
        return self


def read_state(run: Path) -> CampaignState | None:
    """What a run folder says of its campaign; None if it holds none.

    Raises:
        InvalidInputError: ``campaign.json`` says something that is not allowed.
    """
    path = run / STATE_FILE
    return CampaignState.read(path) if path.is_file() else None


@contextmanager
def only_driver(run: Path) -> Iterator[None]:
    """Hold a run folder; two drivers would submit every link twice.

    Raises:
        InvalidInputError: another process drives this campaign.
    """
    with (run / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInputError(
                f"{run}: another radfed job submit drives this campaign; look at it with radfed job watch"
            ) from error
        yield


def is_driven(run: Path) -> bool:
    """Whether a process drives the campaign of a run folder now."""
    with (run / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
