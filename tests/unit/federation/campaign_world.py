"""A small world of FLARE jobs for the campaign's driver: a server with a store, and jobs that end as they are told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from radfed.federation.campaign_context import Clock
from radfed.federation.sightings import JobStatus, LedgerPage, Life, UnreachableError
from radfed.job import Job, find_job, shipped_jobs
from radfed.ledger import FinalLine, Ledger, Line, LinkLine, RoundLine, SiteLine, conclude
from radfed.weights import save_weights, weights_digest

SITES = ("north", "south", "west")
ROUND_SECONDS = 10.0
DIGEST = "ab" * 32

Fate = Literal[
    "works",  # does its rounds and ends
    "dies",  # its server process is killed after a round
    "stays_running",  # the server is killed after a round: FLARE calls the job running for ever
    "hangs",  # never answers; FLARE can abort it
    "ignores_abort",  # never answers, and FLARE's abort changes nothing
    "not_approved",  # a site waits for a person
    "refused",  # a site refuses for good
    "not_started",  # FLARE does not schedule it
    "dies_unreleased",  # killed after the final line, before the release is built
]


def small_job(rounds: int = 4, link_rounds: int = 2, sites: Sequence[str] = SITES, max_links: int = 3) -> Job:
    """A shipped job with few rounds."""
    job = find_job(next(iter(shipped_jobs()))).with_changes(
        rounds=rounds, link_rounds=link_rounds, sites=sites, min_sites=2
    )
    federation = job.job.federation.model_copy(update={"max_links": max_links})
    return job.model_copy(update={"job": job.job.model_copy(update={"federation": federation})})


class Time:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(now=lambda: self.now, sleep=self._sleep, wall=lambda: self.now)

    def _sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.01)


@dataclass
class FakeJob:
    """One submission."""

    job_id: str
    token: str
    fate: Fate
    mandatory: tuple[str, ...]
    submitted: float
    aborted_at: float | None = None
    told: bool = False
    finished: str | None = None


@dataclass
class FakeFlare:
    """The federation's server.

    Attributes:
        time: of the world.
        job: what is trained.
        store: the server's folder of the campaign.
        fates: of the jobs, in order; later ones work.
        connected: the sites that are there.
        away: spans of time in which the server does not answer.
    """

    time: Time
    job: Job
    store: Path
    fates: Sequence[Fate] = ()
    connected: Sequence[str] = SITES
    away: Sequence[tuple[float, float]] = ()
    deployed: Mapping[str, str] = field(default_factory=dict)
    crash_after_submit: bool = False

    def __post_init__(self) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        self.jobs_by_id: dict[str, FakeJob] = {}
        self.running_at_once = 0
        self.model = {"w": np.arange(3, dtype=np.float32)}

    @property
    def ledger_file(self) -> Ledger:
        """The store's own ledger."""
        return Ledger(self.store / "ledger.jsonl")

    def sites(self) -> tuple[str, ...]:
        self._reach()
        return tuple(self.connected)

    def submit(
        self, folder: Path, token: str, *, name: str | None = None, mandatory: Sequence[str] | None = None
    ) -> str:
        self._reach()
        known = [job for job in self.jobs_by_id.values() if job.token == token]
        if not known:
            number = len(self.jobs_by_id)
            fate = self.fates[number] if number < len(self.fates) else "works"
            alive = [job for job in self.jobs_by_id.values() if job.finished is None and job.fate != "stays_running"]
            self.running_at_once = max(self.running_at_once, len(alive) + 1)
            known = [FakeJob(f"job-{number + 1}", token, fate, tuple(mandatory or ()), self.time.now)]
            self.jobs_by_id[known[0].job_id] = known[0]
        if self.crash_after_submit:
            self.crash_after_submit = False
            raise KeyboardInterrupt
        return known[0].job_id

    def status(self, job_id: str) -> JobStatus:
        self._reach()
        job = self.jobs_by_id[job_id]
        self._live(job)
        deployed = dict.fromkeys(self.connected, "OK")
        if job.fate == "not_approved":
            deployed["south"] = f"NVFLARE_ERROR: radfed:not_approved:{DIGEST}"
        if job.fate == "refused":
            deployed["south"] = "NVFLARE_ERROR: radfed:not_codeless:custom/evil.py"
        status = job.finished or ("SUBMITTED" if job.fate == "not_started" else "RUNNING")
        return JobStatus(job_id, "campaign", status, {} if job.fate == "not_started" else {**deployed, **self.deployed})

    def ledger(self, job_id: str, after: int = 0) -> LedgerPage:
        self._reach()
        job = self.jobs_by_id[job_id]
        self._live(job)
        if job.finished or (job.fate == "stays_running" and job.told):
            return LedgerPage(Life.GONE)
        if job.fate in ("hangs", "ignores_abort"):
            return LedgerPage(Life.SILENT)
        lines = self.ledger_file.lines
        return LedgerPage(Life.ANSWERED, tuple(lines[after:]), len(lines))

    def abort(self, job_id: str) -> bool:
        self._reach()
        job = self.jobs_by_id[job_id]
        if job.fate == "stays_running":
            return False
        if job.fate != "ignores_abort":
            job.finished = job.finished or "FINISHED:ABORTED"
        return True

    def download(self, job_id: str, into: Path) -> Path | None:
        self._reach()
        job = self.jobs_by_id[job_id]
        if job.finished is None or job.fate in ("not_approved", "refused"):
            return None
        into.mkdir(parents=True)
        for path in self.store.iterdir():
            (into / path.name).write_bytes(path.read_bytes())
        if job.fate == "dies_unreleased":
            (into / "release.json").unlink(missing_ok=True)
        return into

    def jobs(self, campaign: str) -> list[JobStatus]:
        return [self.status(job_id) for job_id in self.jobs_by_id]

    def _reach(self) -> None:
        if any(begin <= self.time.now < end for begin, end in self.away):
            raise UnreachableError("nobody there")

    def _live(self, job: FakeJob) -> None:
        """Let a job do what it does, once its time has come."""
        if job.finished is not None:
            return
        if job.fate in ("not_approved", "refused"):
            job.finished = "FINISHED:FAILED_TO_RUN"
        elapsed = self.time.now - job.submitted
        if job.fate not in ("works", "dies", "stays_running", "dies_unreleased") or job.told or elapsed < ROUND_SECONDS:
            return
        job.told = True
        self._train(job, rounds=1 if job.fate in ("dies", "stays_running") else self.job.job.federation.link_rounds)
        if job.fate in ("works", "dies", "dies_unreleased"):
            job.finished = "FINISHED:ABNORMAL" if job.fate == "dies" else "FINISHED:COMPLETED"

    def _train(self, job: FakeJob, rounds: int) -> None:
        ledger, wanted = self.ledger_file, self.job.job.federation.rounds
        (self.store / "release.json").write_text("{}")
        if any(isinstance(line, FinalLine) for line in ledger.lines):
            return
        first = 1 + sum(isinstance(line, RoundLine) for line in ledger.lines)
        links = sum(isinstance(line, LinkLine) for line in ledger.lines)
        ledger.append(
            LinkLine(
                link=links + 1,
                job_id=job.job_id,
                sites=tuple(self.connected),
                required=self.job.job.federation.sites,
                first_round=first,
                measure=self.job.task.measure,
            )
        )
        for number in range(first, min(first + (rounds or wanted), wanted + 1)):
            for site in self.connected:
                ledger.append(SiteLine(round=number, site=site, answered=True, accepted=True, weight=4, bytes=100))
            digest = weights_digest(self.model)
            ledger.append(RoundLine(round=number, digest=digest, accepted=len(self.connected), seconds=ROUND_SECONDS))
        if sum(isinstance(line, RoundLine) for line in ledger.lines) == wanted:
            save_weights(self.store / "best.safetensors", self.model)
            ledger.append(conclude(ledger.lines, self.job.job.federation.sites, wanted))


def export(job: Job, out: Path) -> Path:
    """A FLARE job's folder, as far as the driver looks at it."""
    folder = out / job.job.name
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    return folder


def lines_only(events: Sequence[object]) -> list[Line]:
    """The ledger lines among what was told."""
    return [event for event in events if isinstance(event, Line)]
