"""A campaign on the server's disk: settings, ledger and checkpoints, which one FLARE job leaves to the next."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from radfed.errors import FederationError, GateError
from radfed.files import put_text, sync
from radfed.job import Job
from radfed.ledger import FinalLine, Ledger, LinkLine, RoundLine, SiteLine, conclude, final_of, required_of, rounds_of
from radfed.metrics.pooling import FederatedEvaluation
from radfed.metrics.signed import SITES
from radfed.privacy.spent import PRIVACY_FILE, PrivacyRecord
from radfed.weights import load_weights, save_weights, weights_digest

Tensors = dict[str, NDArray[Any]]

JOB, TASK, LEDGER, EVALUATION = "job.json", "task.yaml", "ledger.jsonl", "evaluation.json"
BEST, FINAL = "best.safetensors", "final.safetensors"
RELEASE, RELEASE_RESULT, UPDATES = "release", "release.json", "updates"
RESULTS = (JOB, TASK, EVALUATION, SITES, PRIVACY_FILE, BEST, FINAL, RELEASE, RELEASE_RESULT, LEDGER)
"""What the engineer gets of a campaign. The ledger comes last: what it names is there."""

_LOCK = ".lock"
_LOOK = 0.2


class CampaignStore:
    """The folder of one campaign, held by one FLARE job at a time.

    A round is kept in two steps, each whole or not there: its aggregate as ``checkpoint-<round>.safetensors``, then its
    line in the ledger. A crash between the two leaves a file that no line names, and the round is done again.
    """

    def __init__(self, folder: Path, job: Job, lock: int) -> None:
        self.folder, self.job = folder, job
        self.ledger = Ledger(folder / LEDGER)
        self.lock = lock
        """File descriptor that holds the campaign; a child process that has it holds the campaign, too."""

    @classmethod
    @contextmanager
    def hold(cls, folder: Path, job: Job, patience: float = 110.0) -> Iterator[Self]:
        """Open a campaign, new or old, and keep others out.

        Args:
            folder: of the campaign; made if it is new.
            job: its settings.
            patience: seconds to wait for a job that still holds it, say one whose server process is about to end.

        Raises:
            FederationError: another job holds the campaign.
            GateError: the campaign was begun with other settings.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("w") as lock:
            _acquire(lock.fileno(), folder.name, patience)
            if (folder / JOB).is_file():
                if Job.read_json(folder / JOB) != job:
                    raise GateError(
                        f"campaign {folder.name} was begun with other settings; give the new training another name"
                    )
            else:
                put_text(folder / TASK, job.task.to_yaml())
                job.write_json(folder / JOB)
            (folder / UPDATES).mkdir(exist_ok=True)
            yield cls(folder, job, lock.fileno())

    @property
    def final(self) -> FinalLine | None:
        """How the campaign ended; None while it has not."""
        return final_of(self.ledger.lines)

    @property
    def last_round(self) -> RoundLine | None:
        """The last round with an aggregate."""
        rounds = rounds_of(self.ledger.lines)
        return rounds[-1] if rounds else None

    @property
    def best_round(self) -> RoundLine | None:
        """The round whose aggregate scored highest so far."""
        rounds = rounds_of(self.ledger.lines)
        best = conclude(self.ledger.lines, (), len(rounds)).best_round
        return next((line for line in rounds if line.round == best), None)

    @property
    def lost_links(self) -> int:
        """FLARE jobs since the last aggregate, the one that runs included."""
        since = 0
        for line in self.ledger.lines:
            since = since + 1 if isinstance(line, LinkLine) else 0 if isinstance(line, RoundLine) else since
        return since

    def begin_link(self, job_id: str, sites: Sequence[str]) -> LinkLine:
        """Write that a FLARE job goes on with the campaign.

        Args:
            job_id: FLARE's.
            sites: those that take part in it.
        """
        before = [line for line in self.ledger.lines if isinstance(line, LinkLine)]
        last = self.last_round
        asked_for = self.job.job.federation.sites
        line = LinkLine(
            link=len(before) + 1,
            job_id=job_id,
            sites=tuple(sorted(sites)),
            required=required_of(before) if before else tuple(sorted(asked_for or sites)),
            first_round=last.round + 1 if last else 1,
            digest=last.digest if last else None,
            measure=self.job.task.measure,
        )
        self.ledger.append(line)
        return line

    def load_model(self) -> Tensors | None:
        """The aggregate of the last round; None before the first.

        Raises:
            FederationError: the file is not what the ledger says.
        """
        last = self.last_round
        if last is None:
            return None
        model = load_weights(self.checkpoint(last.round))
        if weights_digest(model) != last.digest:
            raise FederationError(f"the checkpoint of round {last.round} is not the one in the ledger; restore it")
        return model

    def save_round(self, line: RoundLine, model: Tensors) -> None:
        """Keep a round: its aggregate, then its line."""
        path = self.checkpoint(line.round)
        save_weights(path, model)
        sync(path)
        self.ledger.append(line)
        self._prune()

    def conclude(self, told: Sequence[SiteLine] = ()) -> FinalLine:
        """Write how the campaign ended, which models it leaves (the best and the last), and the privacy spent.

        Args:
            told: what the sites answered last, that no line of the ledger holds.
        """
        rounds = rounds_of(self.ledger.lines)
        final = conclude(self.ledger.lines, required_of(self.ledger.lines), self.job.job.federation.rounds)
        for number, name in ((final.best_round, BEST), (rounds[-1].round if rounds else None, FINAL)):
            if number is not None and self.checkpoint(number).is_file():
                _copy(self.checkpoint(number), self.folder / name)
        self._forget_other_evaluation(final)
        answers = [line for line in self.ledger.lines if isinstance(line, SiteLine)]
        spent = PrivacyRecord.of(self.job, [*answers, *told])
        if spent is not None:
            put_text(self.folder / PRIVACY_FILE, spent.model_dump_json(indent=2) + "\n", durable=True)
        self.ledger.append(final)
        return final

    def _forget_other_evaluation(self, final: FinalLine) -> None:
        """Test scores of a model that was the best for a while, before a link was lost."""
        path = self.folder / EVALUATION
        if path.is_file() and FederatedEvaluation.read(path).model != final.digest:
            path.unlink()
            shutil.rmtree(self.folder / SITES, ignore_errors=True)

    def copy_results(self, into: Path) -> None:
        """Copy what the engineer gets, into the folder that FLARE keeps of a job."""
        into.mkdir(parents=True, exist_ok=True)
        for name in RESULTS:
            source = self.folder / name
            if source.is_dir():
                hidden = shutil.ignore_patterns(".*")  # what a build that was cut short left behind
                shutil.copytree(source, into / name, dirs_exist_ok=True, ignore=hidden)
            elif source.is_file():
                _copy(source, into / name)

    def checkpoint(self, number: int) -> Path:
        """Where the aggregate of a round lies."""
        return self.folder / f"checkpoint-{number}.safetensors"

    def _prune(self) -> None:
        """Keep the checkpoints that may still be wanted: the best round's, and the last two."""
        rounds = rounds_of(self.ledger.lines)
        kept = [*rounds[-2:], *([self.best_round] if self.best_round else [])]
        wanted = {self.checkpoint(line.round) for line in kept}
        for path in self.folder.glob("checkpoint-*.safetensors"):
            if path not in wanted:
                path.unlink()


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, beside)
    os.replace(beside, target)


def _acquire(descriptor: int, name: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise FederationError(f"campaign {name}: another FLARE job is at it; abort that one first") from None
            time.sleep(_LOOK)
        else:
            return
