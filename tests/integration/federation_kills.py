"""The kill matrix: one process of a running campaign is killed at one moment, and the campaign must end by itself.

A moment is a call of a real function that is told to wait (``federation_hook``); the process that dies is not always
the one that waits. All kills fall into the second of four rounds, so that there is something to lose; only ``before
training`` falls before the first.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path

from tests.integration.federation_campaign import CampaignRun, start_campaign
from tests.integration.federation_data import Pooled, tiny_job
from tests.integration.federation_hooks import Hooks, arm, disarm, wait_held
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_processes import Role, kill, wait_for
from tests.integration.federation_truth import Death, Evidence, falsehoods

from radfed.job import Job
from radfed.ledger import FinalLine, LinkLine, read_ledger, rounds_of

SITES = ("north", "valley", "coast")
VICTIM = "valley"
ROUNDS, STEPS, LINK_ROUNDS = 4, 24, 2
DICE_MARGIN = 0.01
MOST_SECONDS = 240.0
"""A campaign that has not ended by then does not end by itself."""

_SITE_HOLDS = {
    "before": "radfed.training.samples:load_samples",
    "training": "radfed.training.trainer:Trainer._step",
    # FLARE asks a site for its update tensor by tensor.
    "uploading": "nvflare.app_common.np.np_downloader:ArrayDownloadable.produce_item",
}
_SERVER_HOLDS = {
    "aggregating": "radfed.federation.aggregation:aggregate",
    # The aggregate is written, its line in the ledger is not.
    "saving": "radfed.federation.store:_to_disk",
}


class Moment(StrEnum):
    """When a process is killed; the value is what the table says."""

    BEFORE = "before training"
    TRAINING = "training"
    UPLOADING = "uploading"
    AGGREGATING = "aggregating"
    SAVING = "saving"

    @property
    def label(self) -> str:
        """Of the function that waits."""
        return self.name.lower()

    @property
    def participant(self) -> str:
        """Who calls the function."""
        return VICTIM if self.label in _SITE_HOLDS else SERVER


ROLES: Mapping[Role, str] = {
    Role.TRAINER: "trainer",
    Role.CLIENT_JOB: "client job",
    Role.CLIENT_PARENT: "client parent",
    Role.SERVER_JOB: "server job",
    Role.SERVER_PARENT: "server parent",
}


@dataclass(frozen=True)
class Cell:
    """One entry of the matrix."""

    role: Role
    moment: Moment

    @property
    def participant(self) -> str:
        """Who loses a process."""
        return SERVER if self.role in (Role.SERVER_JOB, Role.SERVER_PARENT) else VICTIM

    @property
    def name(self) -> str:
        """As a campaign and a test are called."""
        return f"{ROLES[self.role]}-{self.moment.value}".replace(" ", "-")


# One moment after the other: so a participant's parent dies only every fifth time. FLARE's start script gives up after
# five restarts that are less than 300 s apart.
CELLS: Sequence[Cell] = tuple(Cell(role, moment) for moment, role in product(Moment, ROLES))


@dataclass(frozen=True)
class Ended:
    """How a campaign ended.

    Attributes:
        outcome: COMPLETED, DEGRADED or FAILED.
        links: FLARE jobs that took part.
        seconds: from its submission to its end.
        after: seconds from the kill to its end; None without one.
        digest: of the model of the last round.
        dice: mean of that model, over the validation cases of all sites.
        missing: sites that the final line names.
        false: what in the ledger is not so.
    """

    outcome: str
    links: int
    seconds: float
    after: float | None
    digest: str | None
    dice: float | None
    missing: tuple[str, ...]
    false: tuple[str, ...]


def matrix_job() -> Job:
    """The job of every cell; campaigns differ by name alone."""
    return tiny_job(
        "kills", rounds=ROUNDS, local_steps=STEPS, link_rounds=LINK_ROUNDS, min_sites=2, sites=list(SITES), grace=30
    )


def matrix_hooks(folder: Path) -> dict[str, Path]:
    """The hooks of the victim and of the server."""
    return {
        VICTIM: Hooks(holds=_SITE_HOLDS).write(folder / VICTIM),
        # The release takes as long as a link and is no part of what is measured.
        SERVER: Hooks(holds=_SERVER_HOLDS, skips=("radfed.federation.children:build_release",)).write(folder / SERVER),
    }


def calls_before(moment: Moment, tensors: int) -> int:
    """Calls of the moment's function that pass before the one that waits: those of round 1, and half of round 2.

    Args:
        moment: which function.
        tensors: how many arrays an update has.
    """
    within = {Moment.TRAINING: STEPS, Moment.UPLOADING: tensors}
    if moment is Moment.BEFORE:
        return 0
    return within[moment] + within[moment] // 2 if moment in within else 1


class KillMatrix:
    """Runs cells one after the other on a federation that is kept running.

    Args:
        federation: with ``matrix_hooks``, up.
        out: folder for exported jobs and what the campaigns say.
    """

    def __init__(self, federation: LoopbackFederation, out: Path) -> None:
        self._federation, self._out, self._job = federation, out, matrix_job()
        self._pooled = Pooled(federation.datasets.values(), self._job)

    def undisturbed(self) -> Ended:
        """The campaign with nothing killed."""
        return self._finish(self._start("undisturbed"), None, [])

    def run(self, cell: Cell) -> Ended:
        """One campaign, one kill.

        Raises:
            TimeoutError: the moment did not come, or the campaign did not end.
        """
        label, folder = cell.moment.label, self._federation.hooks[cell.moment.participant]
        arm(folder, label, calls_before(cell.moment, self._pooled.tensors))
        run = self._start(cell.name)
        try:
            wait_held(folder, label, MOST_SECONDS)
            killed, deaths = self._strike(cell)
        except BaseException:
            run.end()
            raise
        finally:
            disarm(folder, label)
        return self._finish(run, killed, deaths)

    def _start(self, name: str) -> CampaignRun:
        wait_for(self._complete, 90, "federation with all its sites", every=0.5)
        return start_campaign(self._federation, self._job, f"{name}-{secrets.token_hex(2)}", self._out)

    def _complete(self) -> bool:
        with self._federation.console() as console:
            return set(console.sites()) == set(SITES)

    def _strike(self, cell: Cell) -> tuple[float, list[Death]]:
        """Kill, and say what the victim cannot have done afterwards."""
        victims = self._federation.processes(cell.role, cell.participant)
        if not victims:
            raise TimeoutError(f"{cell.participant} runs no {ROLES[cell.role]} {cell.moment}")
        # A process of the job before may still be ending.
        victim = max(victims, key=lambda found: found.process.create_time())
        command = " ".join(victim.process.cmdline())
        at = kill(victim.process)
        if cell.role is not Role.CLIENT_JOB:
            return at, []
        [job] = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", command))
        return at, [Death(VICTIM, job, at)]

    def _finish(self, run: CampaignRun, killed: float | None, deaths: Sequence[Death]) -> Ended:
        ended = run.wait(MOST_SECONDS)
        # The release is not built here, and the driver would have it built again.
        run.end()
        lines = read_ledger(run.store / "ledger.jsonl")
        final = lines[-1]
        assert isinstance(final, FinalLine), "wait returned before the campaign had ended"
        last = [line for line in lines if isinstance(line, LinkLine)][-1]
        with self._federation.console() as console:
            jobs = frozenset(status.job_id for status in console.jobs(run.campaign))
            # A job that is still ending would slow the next campaign down.
            wait_for(lambda: console.status(last.job_id).ended, 60, "FLARE's end of the last link", every=0.5)
        folders = {site: self._federation.site_folder(site) for site in SITES}
        evidence = Evidence(run.campaign, run.store, folders, ROUNDS, jobs, deaths)
        usable = final.outcome != "FAILED"
        return Ended(
            outcome=final.outcome,
            links=sum(isinstance(line, LinkLine) for line in lines),
            seconds=ended - run.begun,
            after=None if killed is None else ended - killed,
            digest=rounds_of(lines)[-1].digest if usable else None,
            dice=self._pooled.dice(run.store / "final.safetensors") if usable else None,
            missing=final.missing,
            false=tuple(falsehoods(evidence)),
        )


def verdict(ended: Ended, undisturbed: Ended) -> list[str]:
    """What of the promise is not kept, a sentence each."""
    link = undisturbed.seconds / undisturbed.links
    wrong = list(ended.false)
    if ended.outcome == "FAILED" or ended.dice is None or undisturbed.dice is None:
        return [*wrong, "the campaign failed"]
    if ended.outcome == "DEGRADED" and not ended.missing:
        wrong.append("DEGRADED, and nobody is named")
    if ended.outcome == "COMPLETED" and ended.digest != undisturbed.digest:
        wrong.append("COMPLETED with another model than the undisturbed campaign's")
    if abs(ended.dice - undisturbed.dice) > DICE_MARGIN:
        wrong.append(f"Dice {ended.dice:.4f}, undisturbed {undisturbed.dice:.4f}")
    if ended.seconds - undisturbed.seconds > 2 * link:
        late = ended.seconds - undisturbed.seconds
        wrong.append(f"ended {late:.0f} s later than undisturbed; two links take {2 * link:.0f} s")
    return wrong
