"""Every shipped job trains, and what is needed for that is what the protocol of trainers asks for."""

import numpy as np
import pytest
import torch
from training_world import outcome_task  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError
from radfed.job import find_job, shipped_jobs
from radfed.task import TaskSpec
from radfed.training.kinds import trainer_for
from radfed.weights import weights_digest


@pytest.mark.parametrize("name", sorted(shipped_jobs()))
def test_every_shipped_job_takes_a_step_and_measures_what_its_task_says(name: str) -> None:
    job = find_job(name)
    settings = job.job.training.model_copy(update={"batch_size": 2})
    trainer = trainer_for(job.task, settings, "site-a", 10, torch.device("cpu"))
    samples = [trainer.made_up(np.random.default_rng(seed)) for seed in range(3)]
    before = weights_digest(trainer.weights())
    assert np.isfinite(trainer.train(samples, 0, 1).loss)
    assert weights_digest(trainer.weights()) != before
    assert tuple(trainer.test(samples)) == job.task.measured


def test_a_kind_that_nobody_knows_is_refused() -> None:
    task = TaskSpec.model_construct(name="odd", kind="generation", description="", intended_use="")
    with pytest.raises(InvalidInputError, match="no trainer for tasks of the kind generation"):
        trainer_for(task, find_job("phantom_segmentation").job.training, "site-a", 10, torch.device("cpu"))


def test_an_optimiser_of_an_outcome_task_can_be_put_away_and_taken_up_again() -> None:
    task, settings = outcome_task("DenseNet", 2, hidden=(4,)), find_job("phantom_segmentation").job.training
    ones = [trainer_for(task, settings, "site-a", 10, torch.device("cpu")) for _ in range(2)]
    samples = [ones[0].made_up(np.random.default_rng(seed)) for seed in range(5)]
    ones[0].train(samples, 0, 2)
    ones[1].load(ones[0].weights())
    ones[1].load_state(ones[0].state())
    for one in ones:
        one.train(samples, 2, 2)
    assert weights_digest(ones[0].weights()) == weights_digest(ones[1].weights())
