"""Campaigns on a loopback federation: started as an engineer would, followed in the server's own files."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_processes import wait_for
from tests.integration.federation_setup import ENGINEER

from radfed.federation.recipe import export_job
from radfed.job import Job, as_campaign
from radfed.ledger import FinalLine, Line, read_ledger


@dataclass
class CampaignRun:
    """A campaign under way.

    Attributes:
        campaign: its name.
        store: its folder on the server.
        begun: when it was submitted (s since the epoch).
        driver: ``radfed job submit``, which submits link after link.
        log: what the driver printed.
    """

    campaign: str
    store: Path
    begun: float
    driver: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[Line]:
        """The ledger so far, from the server's disk."""
        return read_ledger(self.store / "ledger.jsonl")

    def ended(self) -> bool:
        """Whether the ledger has its final line."""
        lines = self.lines()
        return bool(lines) and isinstance(lines[-1], FinalLine)

    def wait(self, seconds: float) -> float:
        """Wait for the campaign's final line.

        Returns:
            When it was seen (s since the epoch).

        Raises:
            TimeoutError: it did not come in time, or nobody drives the campaign any more.
        """
        try:
            wait_for(lambda: self.ended() or self.driver.poll() is not None, seconds, f"end of {self.campaign}", 0.2)
        finally:
            at = time.time()
            if not self.ended():
                self.end()
        if not self.ended():
            said = self.log.read_text()[-2000:]
            raise TimeoutError(f"{self.campaign}: the driver ended, the campaign did not; it said: {said}")
        return at

    def end(self) -> None:
        """Kill the driver."""
        self.driver.kill()
        self.driver.wait()


def start_campaign(federation: LoopbackFederation, job: Job, name: str, out: Path) -> CampaignRun:
    """Run ``radfed job submit`` in the background.

    Args:
        federation: up.
        job: what to run.
        name: of the campaign.
        out: folder for the job's own folder, its run folder and the driver's log.
    """
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "job.yaml").write_text(job.job.to_yaml(), encoding="utf-8")
    (folder / job.job.task).write_text(job.task.to_yaml(), encoding="utf-8")
    program, kit = Path(sys.executable).parent / "radfed", federation.kit(ENGINEER)
    command = [program, "job", "submit", folder, "--startup-kit", kit, "--out", folder / "run", "--campaign", name]
    log = folder / "submit.log"
    with log.open("wb") as stream:
        driver = subprocess.Popen(
            [*map(str, command), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=federation.environment("console"),
        )
    return CampaignRun(name, federation.kit(SERVER) / "campaigns" / name, time.time(), driver, log)


@dataclass(frozen=True)
class SingleLink:
    """A campaign of one FLARE job, submitted through FLARE's console, at its end.

    Attributes:
        job_id: FLARE's.
        lines: its ledger, from the server's disk.
        store: its folder on the server.
        results: what FLARE gives of it to the engineer; None where that was not asked for.
    """

    job_id: str
    lines: list[Line]
    store: Path
    results: Path | None


def run_single_link(
    federation: LoopbackFederation, job: Job, name: str, out: Path, *, seconds: float = 150, fetch: bool = False
) -> SingleLink:
    """Export, submit, wait for the final line; with ``fetch`` also for FLARE's end of the job and its results.

    Raises:
        TimeoutError: there was no final line in time.
    """
    folder = export_job(as_campaign(job, name), out)
    store = federation.kit(SERVER) / "campaigns" / name
    with federation.console() as console:
        job_id = console.submit(folder, name)
        lines = wait_final(store, lambda: console.status(job_id).ended, seconds)
        results = None
        if fetch:
            wait_for(lambda: console.status(job_id).ended, seconds, f"FLARE's end of {name}", every=0.5)
            results = console.download(job_id, out / f"{name}-results")
    return SingleLink(job_id, lines, store, results)


def wait_final(store: Path, given_up: Callable[[], bool], seconds: float) -> list[Line]:
    """Wait for the final line of a campaign's ledger.

    Args:
        store: the campaign's folder on the server.
        given_up: asked while waiting; True means that nobody will write one.
        seconds: how long to wait.

    Returns:
        The ledger.

    Raises:
        TimeoutError: there was none in time, or nobody will write one.
    """

    def final() -> bool:
        lines = read_ledger(store / "ledger.jsonl")
        return bool(lines) and isinstance(lines[-1], FinalLine)

    wait_for(lambda: final() or given_up(), seconds, f"final line in {store.name}", every=0.5)
    if not final():
        raise TimeoutError(f"{store.name}: FLARE ended its job without a final line")
    return read_ledger(store / "ledger.jsonl")
