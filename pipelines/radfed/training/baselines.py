"""What a federation is compared with: one site alone, and all data pooled, with the same total of steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from radfed.job import TrainingSettings
from radfed.task import TaskSpec
from radfed.training.kinds import trainer_for
from radfed.training.samples import Prepared
from radfed.weights import Weights


@dataclass(frozen=True)
class Baseline:
    """A model trained without a federation.

    Attributes:
        name: ``pooled`` or ``local-<site>``.
        steps: optimiser steps taken.
        best_step: step whose model scored best on the validation cases; that model is kept.
        best_metric: its metric on the validation cases.
        weights: the model.
    """

    name: str
    steps: int
    best_step: int
    best_metric: float
    weights: Weights


def train_baseline(
    name: str,
    task: TaskSpec,
    settings: TrainingSettings,
    training: Sequence[Prepared],
    validation: Sequence[Prepared],
    steps: int,
    checkpoints: int,
    device: torch.device,
    on_checkpoint: Callable[[int, float | None], None] = lambda _step, _metric: None,
) -> Baseline:
    """Train for ``steps`` optimiser steps, validated as often as the federation, and keep the best model.

    The federation keeps the best of its rounds; a baseline that kept its last model would compete with less.

    Args:
        name: ``pooled`` or ``local-<site>``.
        task: the contract.
        settings: the same as at the sites of the federation.
        training: prepared training cases.
        validation: prepared validation cases of the same sites.
        steps: optimiser steps in all.
        checkpoints: how often to validate; the rounds of the federation.
        device: where to compute.
        on_checkpoint: called with the steps taken and the validation metric.
    """
    trainer = trainer_for(task, settings, name, steps, device)
    stops = [round(steps * (number + 1) / checkpoints) for number in range(checkpoints)]
    best = Baseline(name, steps, 0, -1.0, {})
    done = 0
    for stop in stops:
        trainer.train(training, done, stop - done)
        done = stop
        score = trainer.validate(validation)
        # Without validation cases nothing can be chosen, and the last model stands.
        metric = score.metric if score else -1.0
        if metric >= best.best_metric:
            best = Baseline(name, steps, done, metric, trainer.weights())
        on_checkpoint(done, score.metric if score else None)
    return best
