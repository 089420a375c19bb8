"""One site's work for one job: its data, its trainer, and the optimiser's state from round to round."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError, TrainingError
from radfed.job import Job
from radfed.site.config import SiteSettings
from radfed.training.device import choose_device, claim_threads
from radfed.training.process import Request
from radfed.training.samples import Sample, load_samples
from radfed.training.trainer import SegmentationTrainer
from radfed.weights import load_weights, save_weights

FEWEST_TEST_CASES = 3
"""Fewer test cases than this are not reported: the sums of one or two would give away their cases' scores."""


@dataclass
class Session:
    """What the trainer process holds between requests."""

    job: Job
    trainer: SegmentationTrainer
    training: list[Sample]
    validation: list[Sample]
    dataset: Dataset
    trained: int | None = None
    """The round whose end the optimiser in memory has seen."""

    @classmethod
    def open(cls, job_file: Path, site: Mapping[str, Any], name: str) -> Self:
        """Read the job and this site's data.

        Raises:
            InvalidInputError: the site names no dataset, or a file cannot be used.
            DataError: a case does not fit the task.
        """
        job = Job.read_json(job_file)
        settings = SiteSettings.check(dict(site), "site.yaml")
        if settings.threads is not None:
            claim_threads(settings.threads)
        if settings.dataset is None:
            raise InvalidInputError("site.yaml names no dataset; set it to the folder that 'radfed ingest' wrote")
        dataset = Dataset.read(settings.dataset)
        federation = job.job.federation
        trainer = SegmentationTrainer(
            job.task,
            job.job.training,
            name,
            federation.rounds * federation.local_steps,
            choose_device(settings.device),
        )
        training = load_samples(dataset, "training", job.task)
        return cls(job, trainer, training, load_samples(dataset, "validation", job.task), dataset)

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
        return report if request.do == "validate" else report | self._train(request, stop)

    def _train(self, request: Request, stop: Callable[[], bool]) -> dict[str, object]:
        if request.out is None or request.states is None:
            raise InvalidInputError("train: no place for the result was given")
        optimiser = self._recall(request.states, request.round)
        steps = self.job.job.federation.local_steps
        trained = self.trainer.train(self.training, (request.round - 1) * steps, steps, stop=stop)
        self.trained = None
        if stop():
            raise TrainingError(f"stopped in round {request.round} before its steps were taken")
        # The round before stays: the server may have to ask for this round again. The one before that goes first, so
        # that the new file gets its memory.
        _state_file(request.states, request.round - 2).unlink(missing_ok=True)
        save_weights(_state_file(request.states, request.round), self.trainer.state())
        self.trained = request.round
        save_weights(request.out, self.trainer.weights())
        return {"loss": trained.loss, "train_seconds": trained.seconds, "optimiser": optimiser}

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
        """Dice by label over the test cases, as sums."""
        cases = load_samples(self.dataset, "test", self.job.task)
        if len(cases) < FEWEST_TEST_CASES:
            return {"cases": 0}
        scores = np.array([self.trainer.dice_by_label(case) for case in cases])
        labels = [label.name for label in self.job.task.labels]
        sums = {
            name: {"total": float(column.sum()), "squares": float((column**2).sum())}
            for name, column in zip(labels, scores.T, strict=True)
        }
        return {"cases": len(cases), "labels": sums}


def _state_file(folder: Path, number: int) -> Path:
    return folder / f"state-{number}.safetensors"
