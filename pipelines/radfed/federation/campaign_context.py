"""What the parts of a campaign's driver share: the server, the clock, how patient to be, and whom to tell."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from radfed.federation.campaign_events import CampaignEvent, OnEvent, What
from radfed.federation.campaign_rules import Limits, pause_before
from radfed.federation.sightings import JobStatus, LedgerPage, UnreachableError

T = TypeVar("T")


class Flare(Protocol):
    """What the driver needs of FLARE; ``radfed.federation.console.Console`` has it."""

    def sites(self) -> tuple[str, ...]:
        """Names of the sites that are connected."""

    def submit(
        self, folder: Path, token: str, *, name: str | None = None, mandatory: Sequence[str] | None = None
    ) -> str:
        """Submit an exported job; the same token is the same job."""

    def status(self, job_id: str) -> JobStatus:
        """What FLARE says of a job."""

    def ledger(self, job_id: str, after: int = 0) -> LedgerPage:
        """The running job's ledger."""

    def abort(self, job_id: str) -> bool:
        """Have FLARE end a job; whether it will."""

    def download(self, job_id: str, into: Path) -> Path | None:
        """Fetch what a job left."""


@dataclass(frozen=True)
class Orders:
    """How patient the driver is. All times in seconds.

    Attributes:
        start_with_quorum: begin with ``min_sites`` sites instead of every required one that is connected.
        approval_timeout: how long sites may take to approve the job; None waits.
        give_up_after: how long the server, or enough sites, may be missing.
        settle: how long required sites that are not connected are waited for.
        look: between two looks at the server.
        limits: how long what is waited for while a link runs.
    """

    start_with_quorum: bool = False
    approval_timeout: float | None = None
    give_up_after: float = 1800.0
    settle: float = 60.0
    look: float = 2.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Clock:
    """Time, so that tests need not wait for it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall: Callable[[], float] = time.time


class Context:
    """Says what happens, and keeps asking a server that is away.

    Args:
        flare: the federation's server.
        run: the run folder.
        on_event: who is told.
        orders: how patient to be.
        clock: the time.
    """

    def __init__(self, flare: Flare, run: Path, on_event: OnEvent, orders: Orders, clock: Clock) -> None:
        self.flare, self.run, self.on_event, self.orders, self.clock = flare, run, on_event, orders, clock
        self.campaign = ""
        self.link: int | None = None
        self._told: set[tuple[What, tuple[str, ...]]] = set()

    def say(
        self,
        what: What,
        *,
        job_id: str | None = None,
        sites: tuple[str, ...] = (),
        reason: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Tell what happened."""
        self.on_event(
            CampaignEvent(
                what=what,
                campaign=self.campaign,
                link=self.link,
                job_id=job_id,
                sites=sites,
                reason=reason,
                detail=detail,
            )
        )

    def say_once(
        self, what: What, sites: tuple[str, ...], *, reason: str | None = None, detail: str | None = None
    ) -> None:
        """Tell what goes on, again only once it concerns other sites."""
        if (what, sites) not in self._told:
            self._told = {known for known in self._told if known[0] != what} | {(what, sites)}
            self.say(what, sites=sites, reason=reason, detail=detail)

    def patiently(self, action: Callable[[], T]) -> T:
        """Do something that needs the server, again and again while it is away.

        Raises:
            UnreachableError: it stayed away for longer than the driver may wait.
        """
        began, attempt = self.clock.now(), 0
        while True:
            try:
                result = action()
            except UnreachableError as error:
                if self.clock.now() - began >= self.orders.give_up_after:
                    raise
                if attempt == 0:
                    self.say("server_unreachable", detail=str(error))
                attempt += 1
                self.clock.sleep(pause_before(attempt, shortest=1.0, longest=30.0))
            else:
                if attempt:
                    self.say("server_back")
                return result
