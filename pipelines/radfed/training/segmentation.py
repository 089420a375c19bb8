"""The segmentation trainer: random patches of volumes or planes, and the Dice of whole cases."""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.inference.sliding_window import slide
from radfed.job import TrainingSettings
from radfed.metrics.overlap import dice
from radfed.task import SegmentationTask
from radfed.training.augment import build_augmentation, draw_patch
from radfed.training.losses import build_loss
from radfed.training.predictor import TorchPredictor
from radfed.training.samples import Sample
from radfed.training.trainer import Batch, Trainer, Validated


class SegmentationTrainer(Trainer[Sample]):
    """Trains a network that gives a map of classes, on patches of prepared cases.

    Args:
        task: the contract.
        settings: how to train.
        name: of the site, or of the baseline.
        total_steps: optimiser steps over the whole training.
        device: where to compute.
    """

    def __init__(
        self, task: SegmentationTask, settings: TrainingSettings, name: str, total_steps: int, device: torch.device
    ) -> None:
        super().__init__(task, settings, name, total_steps, device, build_loss(task))
        self.task = task
        self.augmentation = build_augmentation(task, settings)
        self._predict = TorchPredictor(self.network, device)

    def batches(
        self, samples: Sequence[Sample], order: np.random.Generator, changes: int, steps: int
    ) -> Iterator[Batch]:
        """Patches of cases that are drawn with replacement."""
        self.augmentation.set_random_state(seed=changes)
        for _ in range(steps):
            yield self._batch([samples[i] for i in order.integers(len(samples), size=self.settings.batch_size)])

    def _batch(self, drawn: Sequence[Sample]) -> Batch:
        chosen = drawn[self.ranks.share(len(drawn))]
        patches = [draw_patch(self.augmentation, sample, self.task.roi_size) for sample in chosen]
        image, label = (torch.stack(part) for part in zip(*patches, strict=True))
        if self.device.type == "cuda":
            image, label = image.pin_memory(), label.pin_memory()
        return Batch(
            (self.laid_out(image).to(self.device, non_blocking=True),),
            label.to(self.device, non_blocking=True),
            tuple(sample.case for sample in drawn),
        )

    def validate(self, samples: Sequence[Sample]) -> Validated | None:
        """Mean Dice over labels, then over cases."""
        if not samples:
            return None
        started = time.monotonic()
        scores = [float(np.mean(self.dice_by_label(sample))) for sample in samples]
        return Validated(float(np.mean(scores)), len(scores), time.monotonic() - started)

    def test(self, samples: Sequence[Sample]) -> dict[str, NDArray[np.float64]]:
        """Dice of each label, one a case."""
        scores = np.array([self.dice_by_label(sample) for sample in samples], dtype=np.float64)
        return dict(zip(self.task.measured, scores.reshape(-1, len(self.task.labels)).T, strict=True))

    def made_up(self, random: np.random.Generator) -> Sample:
        """A case of twice a patch's size, with every label in it."""
        shape = tuple(2 * edge for edge in self.task.roi_size)
        image = random.standard_normal((len(self.task.channels), *shape), dtype=np.float32)
        return Sample("case-random", image, random.integers(0, len(self.task.labels) + 1, shape, dtype=np.uint8))

    def dice_by_label(self, sample: Sample) -> list[float]:
        """Dice of each of the task's labels for one prepared case."""
        classes = slide(sample.image, self._predict, self.task.window, self.task.overlap).argmax(axis=0)
        return [dice(classes == k, sample.label == k) for k in range(1, len(self.task.labels) + 1)]
