"""The trainer of tasks with one answer a case: images, records, or both."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.job import TrainingSettings
from radfed.task import MultiLabel, OutcomeTask, Survival
from radfed.training.outcome_losses import build_outcome_loss
from radfed.training.outcome_samples import OutcomeSample
from radfed.training.outcome_scores import by_case, overall
from radfed.training.picture_augment import ImageChanges
from radfed.training.predictor import OutcomePredictor
from radfed.training.trainer import Batch, Trainer, Validated

# Numbers in a batch of evaluation: 1024 pictures of 64 x 64, or two volumes of 128 x 128 x 128.
_EVALUATED = 1 << 22
# The share of the GPU's free memory that the training cases may take, to stay there.
_STAGED = 0.4


class OutcomeTrainer(Trainer[OutcomeSample]):
    """Trains a network that gives one answer a case.

    Args:
        task: the contract.
        settings: how to train. A batch size above the number of cases means all of them in each step.
        name: of the site, or of the baseline.
        total_steps: optimiser steps over the whole training.
        device: where to compute.
    """

    def __init__(
        self, task: OutcomeTask, settings: TrainingSettings, name: str, total_steps: int, device: torch.device
    ) -> None:
        super().__init__(task, settings, name, total_steps, device, build_outcome_loss(task))
        self.task = task
        self._predict = OutcomePredictor(self.network, device)
        self._staged: tuple[Sequence[OutcomeSample], tuple[torch.Tensor, ...]] | None = None

    def batches(
        self, samples: Sequence[OutcomeSample], order: np.random.Generator, changes: int, steps: int
    ) -> Iterator[Batch]:
        """Cases in random order, each once before any comes again; their images changed at random."""
        change = ImageChanges(self.settings.augmentation, self.device, changes)
        staged = self._stage(samples)
        for drawn in draws(order, len(samples), self.settings.batch_size, steps):
            chosen = drawn[self.ranks.share(len(drawn))]
            *inputs, target = self._gather(samples, chosen) if staged is None else _picked(staged, chosen)
            if self.task.image is not None:
                inputs[0] = self.laid_out(change(inputs[0]))
            yield Batch(tuple(inputs), target, tuple(samples[index].case for index in drawn))

    def validate(self, samples: Sequence[OutcomeSample]) -> Validated | None:
        """1 less the mean Brier score, or the concordance; see ``radfed.training.outcome_scores.overall``."""
        if not samples:
            return None
        started = time.monotonic()
        found = overall(self._logits(samples), _targets(samples), self.task)
        return None if found is None else Validated(*found, time.monotonic() - started)

    def test(self, samples: Sequence[OutcomeSample]) -> dict[str, NDArray[np.float64]]:
        """Values one a case; see ``radfed.training.outcome_scores.by_case``."""
        if not samples:
            return {name: np.empty(0) for name in self.task.measured}
        return by_case(self._logits(samples), _targets(samples), self.task)

    def made_up(self, random: np.random.Generator) -> OutcomeSample:
        """An image and a record of noise, with the first of what there is to find, or an event after a time of 1."""
        task = self.task
        shape = None if task.image is None else (len(task.image.channels), *task.image.size)
        target = [1.0, 1.0] if isinstance(task.outcome, Survival) else [0.0]
        if isinstance(task.outcome, MultiLabel):
            target = [0.0] * task.outputs
        return OutcomeSample(
            "case-random",
            None if shape is None else random.standard_normal(shape, dtype=np.float32),
            random.standard_normal(task.width, dtype=np.float32) if task.covariates else None,
            np.array(target, dtype=np.float32),
        )

    def _logits(self, samples: Sequence[OutcomeSample]) -> NDArray[np.float32]:
        size = max(1, _EVALUATED // sum(value.size for value in samples[0].inputs))
        return np.concatenate([self._answer(samples[first : first + size]) for first in range(0, len(samples), size)])

    def _answer(self, samples: Sequence[OutcomeSample]) -> NDArray[np.float32]:
        images = [sample.image for sample in samples if sample.image is not None]
        records = [sample.record for sample in samples if sample.record is not None]
        return self._predict.answer(np.stack(images) if images else None, np.stack(records) if records else None)

    def _stage(self, samples: Sequence[OutcomeSample]) -> tuple[torch.Tensor, ...] | None:
        """All cases in the GPU's memory, where there is room: then no batch has to be brought there."""
        if self.device.type == "cpu":
            return None
        if self._staged is not None and self._staged[0] is samples:
            return self._staged[1]
        self._staged = None
        needed = len(samples) * sum(value.nbytes for value in (*samples[0].inputs, samples[0].target))
        if needed > _STAGED * torch.cuda.mem_get_info(self.device)[0]:
            return None
        arrays = (*_stacked(samples), _targets(samples))
        self._staged = samples, tuple(torch.from_numpy(array).to(self.device) for array in arrays)
        return self._staged[1]

    def _gather(self, samples: Sequence[OutcomeSample], chosen: NDArray[np.intp]) -> tuple[torch.Tensor, ...]:
        cases = [samples[index] for index in chosen]
        tensors = tuple(torch.from_numpy(array) for array in (*_stacked(cases), _targets(cases)))
        if self.device.type == "cpu":
            return tensors
        return tuple(tensor.pin_memory().to(self.device, non_blocking=True) for tensor in tensors)


def draws(order: np.random.Generator, cases: int, batch_size: int, steps: int) -> Iterator[NDArray[np.intp]]:
    """Which cases each step takes: one random order of all after the other, cut into batches of one size.

    A batch is never larger than all cases together. A single case comes twice: batch normalisation needs two.
    """
    size = min(batch_size, max(cases, 2))
    waiting = np.empty(0, dtype=np.intp)
    for _ in range(steps):
        while len(waiting) < size:
            waiting = np.concatenate((waiting, order.permutation(cases)))
        yield waiting[:size]
        waiting = waiting[size:]


def _picked(staged: Sequence[torch.Tensor], chosen: NDArray[np.intp]) -> tuple[torch.Tensor, ...]:
    index = torch.from_numpy(chosen).to(staged[0].device, non_blocking=True)
    return tuple(tensor[index] for tensor in staged)


def _stacked(samples: Sequence[OutcomeSample]) -> tuple[NDArray[np.float32], ...]:
    """The inputs of a batch, in the network's order."""
    return tuple(np.stack(rows) for rows in zip(*(sample.inputs for sample in samples), strict=True))


def _targets(samples: Sequence[OutcomeSample]) -> NDArray[np.float32]:
    return np.stack([sample.target for sample in samples])
