"""Which trainer and which samples belong to a task. Nothing else in this folder asks what kind a task is."""

from typing import cast

import torch

from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SplitName
from radfed.errors import InvalidInputError
from radfed.job import TrainingSettings
from radfed.task import OutcomeTask, SegmentationTask, TaskSpec
from radfed.training.outcome import OutcomeTrainer
from radfed.training.outcome_samples import load_outcome_samples
from radfed.training.samples import Prepared, load_samples
from radfed.training.segmentation import SegmentationTrainer
from radfed.training.trainer import Trainer


def trainer_for(
    task: TaskSpec, settings: TrainingSettings, name: str, total_steps: int, device: torch.device
) -> Trainer[Prepared]:
    """The trainer of a task's kind; it takes what ``load_cases`` gives for the same task.

    Raises:
        InvalidInputError: there is no trainer for this kind, or the network does not fit the task.
    """
    match task:
        case SegmentationTask():
            return cast("Trainer[Prepared]", SegmentationTrainer(task, settings, name, total_steps, device))
        case OutcomeTask():
            return cast("Trainer[Prepared]", OutcomeTrainer(task, settings, name, total_steps, device))
        case _:
            raise InvalidInputError(f"{task.name}: there is no trainer for tasks of the kind {task.kind}")


def load_cases(dataset: Dataset, split: SplitName, task: TaskSpec) -> list[Prepared]:
    """The prepared cases of a split, in an order that depends on their content alone.

    Raises:
        InvalidInputError: there is nothing prepared for this kind.
        DataError: a case does not fit the task.
    """
    match task:
        case SegmentationTask():
            return list(load_samples(dataset, split, task))
        case OutcomeTask():
            return list(load_outcome_samples(dataset, split, task))
        case _:
            raise InvalidInputError(f"{task.name}: there is nothing to prepare for tasks of the kind {task.kind}")
