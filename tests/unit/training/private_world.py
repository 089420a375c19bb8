"""A small training with differential privacy whose randomness repeats."""

import random
from collections.abc import Sequence
from typing import Any

import torch
from training_world import outcome_samples, outcome_task  # type: ignore[import-not-found]

from radfed.job import PrivacySettings, TrainingSettings
from radfed.task import OutcomeTask
from radfed.training.kinds import trainer_for
from radfed.training.outcome_samples import OutcomeSample
from radfed.training.private import PrivateTraining

CPU = torch.device("cpu")


def private_training(
    task: OutcomeTask | None = None,
    cases: int = 24,
    patients: int | None = None,
    batch_size: int = 8,
    seed: int = 5,
    planned: int = 40,
    samples: Sequence[OutcomeSample] | None = None,
    training: dict[str, Any] | None = None,
    **privacy: float,
) -> PrivateTraining:
    """A training of made-up cases of so many patients, in turn; ``seed`` gives what the operating system would."""
    task = task or outcome_task(covariates=3, hidden=[4])
    settings = TrainingSettings(batch_size=batch_size, warmup_steps=0, learning_rate=0.02, **(training or {}))
    chosen = list(samples) if samples is not None else outcome_samples(task, cases)
    owners = {sample.case: f"pat-{number % (patients or len(chosen))}" for number, sample in enumerate(chosen)}
    trainer = trainer_for(task, settings, "north", planned, CPU)
    wanted = PrivacySettings(**({"noise_multiplier": 1.0} | privacy))
    return PrivateTraining(trainer, task, wanted, list(chosen), owners, planned, entropy=random.Random(seed).randbytes)


def flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """All numbers in one row."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
