"""One site's work for one job: its data, its trainer, and the optimiser's state from round to round."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError, TrainingError
from radfed.job import Job
from radfed.metrics.small_cells import LEAST_PATIENTS, enough
from radfed.site.approval import demand_privacy
from radfed.site.config import SiteSettings
from radfed.training.device import claim_threads
from radfed.training.kinds import load_cases, trainer_for
from radfed.training.privacy_account import Account, Released, locked
from radfed.training.private import PrivateTraining
from radfed.training.process import Request
from radfed.training.ranks import ALONE, Ranks
from radfed.training.samples import Prepared
from radfed.training.trainer import Trainer
from radfed.weights import load_weights, save_weights, weights_digest

FEWEST_TEST_CASES = LEAST_PATIENTS
"""Fewer test cases than this are not reported: the sums of one or two would give away their cases' scores."""


@dataclass
class Session:
    """What the trainer process holds between requests."""

    job: Job
    trainer: Trainer[Prepared]
    training: list[Prepared]
    validation: list[Prepared]
    dataset: Dataset
    ranks: Ranks = ALONE
    trained: int | None = None
    """The round whose end the optimiser in memory has seen."""
    private: PrivateTraining | None = None
    """Takes the steps where the job asks for differential privacy."""

    @classmethod
    def open(cls, job_file: Path, site: Mapping[str, Any], name: str, ranks: Ranks = ALONE) -> Self:
        """Read the job and this site's data.

        Raises:
            InvalidInputError: the site names no dataset, a file cannot be used, or ``ranks`` cannot train this network.
            DataError: a case does not fit the task.
            GateError: the site demands more privacy than the job gives.
        """
        job = Job.read_json(job_file)
        settings = SiteSettings.check(dict(site), "site.yaml")
        demand_privacy(settings.approval, job)
        if settings.threads is not None:
            claim_threads(max(1, settings.threads // ranks.size))
        if settings.dataset is None:
            raise InvalidInputError("site.yaml names no dataset; set it to the folder that 'radfed ingest' wrote")
        dataset = Dataset.read(settings.dataset)
        federation = job.job.federation
        trainer = trainer_for(
            job.task,
            job.job.training,
            name,
            federation.rounds * federation.local_steps,
            ranks.choose_device(settings.device),
        )
        trainer.join(ranks)
        training = load_cases(dataset, "training", job.task)
        validation = load_cases(dataset, "validation", job.task) if ranks.leads else []
        private = _private(job, trainer, training, dataset, ranks)
        return cls(job, trainer, training, validation, dataset, ranks, private=private)

    def work(self, request: Request, stop: Callable[[], bool]) -> dict[str, object]:
        """Do what is asked; returns the numbers to report.

        Raises:
            TrainingError: there is no training case, the loss is no number, or ``stop`` ended the training.
        """
        if request.weights is None:
            raise InvalidInputError(f"{request.do}: no weights were given")
        self.trainer.load(load_weights(request.weights))
        if request.do == "test":
            return self._test()
        report: dict[str, object] = {"cases": len(self.training)}
        # What comes with round 1 is the initial model, which nobody asks about.
        if request.do == "validate" or request.round > 1:
            score = self.trainer.validate(self.validation)
            if score is not None:
                report |= {"metric": score.metric, "metric_cases": score.cases, "evaluation_seconds": score.seconds}
        if self.private is None:
            return report if request.do == "validate" else report | self._train(request, stop)
        return report | self._privately(self.private, request, stop)

    def follow(self, request: Request) -> None:
        """Train as the first of several processes was asked to, with it; it alone reports and keeps the result.

        Raises:
            TrainingError: as in ``work``, in all processes alike.
        """
        assert request.weights is not None  # the first process has read them
        self.trainer.load(load_weights(request.weights))
        self._train(request, lambda: False)

    def _train(self, request: Request, stop: Callable[[], bool]) -> dict[str, object]:
        if request.out is None or request.states is None:
            raise InvalidInputError("train: no place for the result was given")
        self.ranks.tell(request.model_dump(mode="json"))
        stop = self.ranks.agreed(stop)
        optimiser = self._recall(request.states, request.round)
        steps = self.job.job.federation.local_steps
        # Whatever ends it early leaves an optimiser that has seen part of this round.
        self.trained = None
        trained = self.trainer.train(self.training, (request.round - 1) * steps, steps, stop=stop)
        if stop():
            raise TrainingError(f"stopped in round {request.round} before its steps were taken")
        if self.ranks.leads:
            self._keep_state(request.states, request.round)
            save_weights(request.out, self.trainer.weights())
        self.trained = request.round
        return {"loss": trained.loss, "train_seconds": trained.seconds, "optimiser": optimiser}

    def _keep_state(self, states: Path, number: int) -> None:
        """Put the optimiser's state on disk.

        The round before stays: the server may have to ask for this round again. The one before that goes first, so that
        the new file gets its memory.
        """
        _state_file(states, number - 2).unlink(missing_ok=True)
        save_weights(_state_file(states, number), self.trainer.state())

    def _privately(self, private: PrivateTraining, request: Request, stop: Callable[[], bool]) -> dict[str, object]:
        """Train with differential privacy if training was asked for; tells what was spent in either case.

        Raises:
            PrivacyBudgetError: the budget does not bear this round.
            TrainingError: another job of this training is at work here.
        """
        if request.account is None:
            raise InvalidInputError("training.privacy: no place for the account was given")
        steps = self.job.job.federation.local_steps
        told: dict[str, object] = {}
        with locked(request.account):
            account = Account.open(request.account, private.cost(max(0, request.round - 1) * steps))
            if request.do == "train":
                told, account = self._private_round(private, account, request, stop)
        spent = account.spent(private.settings)
        return told | {"privacy": None if spent is None else spent.model_dump()}

    def _private_round(
        self, private: PrivateTraining, account: Account, request: Request, stop: Callable[[], bool]
    ) -> tuple[dict[str, object], Account]:
        """One round; what it costs is on disk before the update is where it may leave from."""
        if request.out is None or request.states is None or request.account is None or request.weights is None:
            raise InvalidInputError("train: no place for the result was given")
        number, steps = request.round, self.job.job.federation.local_steps
        received = weights_digest(load_weights(request.weights))
        kept = _update_file(request.account, number)
        if _is_there(account.released, number, received, kept):
            # Asked for again, say by a server that was killed. A second one, with other noise, would cost again.
            save_weights(request.out, load_weights(kept))
            return {"optimiser": "kept"}, account
        account.admit(private.cost(steps), private.settings)
        optimiser = self._recall(request.states, number)
        self.trained = None
        seconds = private.train((number - 1) * steps, steps, stop)
        if stop():
            raise TrainingError(f"stopped in round {number} before its steps were taken")
        update = self.trainer.weights()
        save_weights(kept, update)
        account = account.after(
            private.cost(steps), Released(round=number, received=received, update=weights_digest(update))
        )
        account.write(request.account)
        # Only now: moments of steps that nobody counted must not be there to go on from.
        self._keep_state(request.states, number)
        _update_file(request.account, number - 1).unlink(missing_ok=True)
        save_weights(request.out, update)
        self.trained = number
        return {"train_seconds": seconds, "optimiser": optimiser}, account

    def _recall(self, states: Path, number: int) -> str:
        """Give the optimiser what it had at the end of the round before; without it, it begins anew."""
        if self.trained == number - 1 and number > 1:
            return "kept"
        path = _state_file(states, number - 1)
        if number > 1 and path.is_file():
            try:
                self.trainer.load_state(load_weights(path))
            except (InvalidInputError, ValueError):
                self.trainer.forget()
            else:
                return "kept"
        self.trainer.forget()
        return "fresh"

    def _test(self) -> dict[str, object]:
        """What the task has measured over the test cases, as sums.

        A sum of right answers is a count of patients: without enough of either kind it is held back.
        """
        values = self.trainer.test(load_cases(self.dataset, "test", self.job.task))
        cases = min(len(column) for column in values.values())
        if cases < FEWEST_TEST_CASES:
            return {"cases": 0}
        sums = {
            name: {"total": float(column.sum()), "squares": float((column**2).sum())}
            for name, column in values.items()
            if name != "accuracy" or _tellable(column)
        }
        return {"cases": cases, "labels": sums}


def _tellable(right: NDArray[np.float64]) -> bool:
    """Whether none of the cases was answered wholly right, or enough, and the same of the others."""
    wholly = int((right == 1).sum())
    return enough(wholly) and enough(len(right) - wholly)


def _state_file(folder: Path, number: int) -> Path:
    return folder / f"state-{number}.safetensors"


def _update_file(folder: Path, number: int) -> Path:
    return folder / f"update-{number}.safetensors"


def _is_there(released: Released | None, number: int, received: str, kept: Path) -> bool:
    """Whether a round's update, from the same model, is the last one that was counted, and lies on disk whole."""
    if released is None or (released.round, released.received) != (number, received) or not kept.is_file():
        return False
    try:
        return weights_digest(load_weights(kept)) == released.update
    except InvalidInputError:
        return False


def _private(
    job: Job, trainer: Trainer[Prepared], training: list[Prepared], dataset: Dataset, ranks: Ranks
) -> PrivateTraining | None:
    """What takes the steps if the job asks for differential privacy.

    Raises:
        InvalidInputError: several processes were to share the steps, or the network cannot be trained so.
    """
    settings, federation = job.job.training.privacy, job.job.federation
    if settings is None:
        return None
    if not ranks.alone:
        raise InvalidInputError(
            f"training_processes: got {ranks.size}, but this job trains with differential privacy, which one process "
            "does; set training_processes: 1 in site.yaml"
        )
    patients = {case.id: case.patient for case in dataset.split("training")}
    return PrivateTraining(trainer, job.task, settings, training, patients, federation.rounds * federation.local_steps)
