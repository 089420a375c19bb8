"""Training as a job says, with differential privacy where it asks for that: for attacks that need a model like it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from radfed.job import Job
from radfed.training.private import PrivateTraining
from radfed.training.samples import Prepared
from radfed.training.trainer import Batch, Trainer


def train_as_job(
    job: Job, trainer: Trainer[Prepared], samples: Sequence[Prepared], patients: Mapping[str, str], steps: int
) -> None:
    """Take the first optimiser steps of a training.

    Args:
        job: how it is trained.
        trainer: fresh, made with the job's settings.
        samples: training cases.
        patients: the patient of each case, by pseudonym.
        steps: how many.

    Raises:
        TrainingError: there is no case, or the loss is not a number.
    """
    settings, federation = job.job.training.privacy, job.job.federation
    if settings is None:
        trainer.train(samples, 0, steps)
        return
    planned = federation.rounds * federation.local_steps
    PrivateTraining(trainer, job.task, settings, samples, patients, planned).train(0, steps)


def first_round(
    job: Job, trainer: Trainer[Prepared], samples: Sequence[Prepared], patients: Mapping[str, str]
) -> tuple[list[Batch], list[torch.Tensor]]:
    """Train the first round at a site.

    Returns:
        The batches that the network saw, and its parameters before.
    """
    seen: list[Batch] = []
    draw = trainer.batches

    def watched(*arguments: Any) -> Iterator[Batch]:  # noqa: ANN401 - handed on as they are
        for batch in draw(*arguments):
            seen.append(batch)
            yield batch

    before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    # The batches of a stretch depend on random streams that cannot be drawn again: they are watched.
    trainer.batches = watched  # type: ignore[method-assign,assignment] # arguments are only handed on
    train_as_job(job, trainer, samples, patients, job.job.federation.local_steps)
    return seen, before
