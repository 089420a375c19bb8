"""Steps of several kinds of network on fixed batches, by one process or by several: ``ranks_world.py OUT``."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radfed.errors import InvalidInputError
from radfed.job import AugmentationSettings, TrainingSettings
from radfed.task import OutcomeTask, SegmentationTask
from radfed.training.outcome import OutcomeTrainer
from radfed.training.outcome_samples import OutcomeSample
from radfed.training.ranks import ALONE, Ranks, join_ranks
from radfed.training.samples import Prepared, Sample
from radfed.training.segmentation import SegmentationTrainer
from radfed.training.trainer import Batch, Trainer
from radfed.weights import Weights, save_weights

STEPS = 4
CPU = torch.device("cpu")
# Nothing by chance but which cases a step takes, so that the batches are the same however many share them.
UNCHANGED = AugmentationSettings(affine_probability=0, intensity_probability=0, noise_probability=0)
_WORDS = {"name": "made_up", "description": "d", "intended_use": "i"}
_RECORD = [{"type": "numeric", "name": "lab"}, {"type": "numeric", "name": "age"}]


class SameBatches(SegmentationTrainer):
    """Shares of the batches that a single process draws, whose patches are cut at random."""

    def batches(
        self, samples: Sequence[Sample], order: np.random.Generator, changes: int, steps: int
    ) -> Iterator[Batch]:
        here, self.ranks = self.ranks, ALONE
        whole = list(super().batches(samples, order, changes - here.rank, steps))
        self.ranks = here
        for batch in whole:
            mine = here.share(len(batch.cases))
            yield Batch(tuple(value[mine] for value in batch.inputs), batch.target[mine], batch.cases)


def segmentation(ranks: Ranks, norm: str = "instance", loss: str = "dice_ce") -> Weights:
    """A UNet; its loss takes Dice over the batch, of which two processes have two cases and one."""
    content = {
        **_WORDS,
        "channels": [{"name": "c"}],
        "labels": [{"value": 1, "name": "a"}],
        "roi_size": [16, 16, 16],
        "spacing": [1, 1, 1],
        "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2], "norm": norm}},
        "loss": loss,
    }
    settings = TrainingSettings(batch_size=3, augmentation=UNCHANGED, learning_rate=0.1)
    trainer = SameBatches(SegmentationTask.check(content, "test"), settings, "site-a", STEPS, CPU)
    random = np.random.default_rng(0)
    labels = [(random.random((18, 18, 18)) < share).astype(np.uint8) for share in (0.02, 0.1, 0.5, 0.9)]
    noise = [random.normal(0, 0.5, label.shape) for label in labels]
    samples = [Sample(f"case-{i}", (labels[i] + noise[i])[None].astype(np.float32), labels[i]) for i in range(4)]
    return _trained(trainer, samples, ranks)


def classes(ranks: Ranks) -> Weights:
    """Image and record, classes weighted: the weights make the cases of a batch depend on each other."""
    encoder = {"layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 8, 16], "norm": "instance"}
    content = {
        **_WORDS,
        "kind": "multimodal",
        "covariates": _RECORD,
        "outcome": {"type": "multiclass", "classes": ["well", "ill"]},
        "class_weights": [0.2, 3.0],
        "image": {"channels": [{"name": "xray"}], "dimensions": 2, "size": [32, 32]},
        "network": {"features": 8, "encoder": {"name": "ResNet", "args": encoder}},
    }
    return _outcome(ranks, content, batch_size=5)


def survival(ranks: Ranks) -> Weights:
    """Cox's partial likelihood over the batch, which no share of it has."""
    content = {**_WORDS, "kind": "survival", "covariates": _RECORD, "outcome": {"type": "survival"}}
    return _outcome(ranks, {**content, "network": {"hidden": [8]}}, batch_size=9)


def _outcome(ranks: Ranks, content: dict[str, Any], batch_size: int) -> Weights:
    task, random = OutcomeTask.check(content, "test"), np.random.default_rng(1)
    settings = TrainingSettings(batch_size=batch_size, augmentation=UNCHANGED, learning_rate=0.1)
    trainer = OutcomeTrainer(task, settings, "site-a", STEPS, CPU)
    samples = [
        OutcomeSample(
            f"case-{number}",
            None if task.image is None else random.normal(number % 2, 1, (1, *task.image.size)).astype(np.float32),
            random.normal(number % 2, 1, task.width).astype(np.float32),
            np.array([number + 1, number % 3 > 0] if task.kind == "survival" else [number % 2], np.float32),
        )
        for number in range(12)
    ]
    return _trained(trainer, samples, ranks)


def _trained(trainer: Trainer[Any], samples: Sequence[Prepared], ranks: Ranks) -> Weights:
    trainer.join(ranks)
    # AdamW makes a whole step of a gradient that is nothing but rounding, as of a bias before a normalisation.
    trainer.optimiser = torch.optim.SGD(trainer.network.parameters())  # type: ignore[assignment]
    trainer.train(samples, 0, STEPS)
    return trainer.weights()


KINDS = {"segmentation": segmentation, "classes": classes, "survival": survival}


def main(out: Path) -> None:
    """Body of each of the processes."""
    ranks = join_ranks()
    for name, train in KINDS.items():
        weights = train(ranks)
        save_weights(out / f"{name}-{ranks.rank}.safetensors", weights)
    try:
        segmentation(ranks, norm="batch")
    except InvalidInputError as error:
        (out / f"refused-{ranks.rank}.txt").write_text(str(error), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
