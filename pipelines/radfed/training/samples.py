"""Prepared cases for training, cached on disk by what decides their content."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Dataset
from radfed.dataset.splits import SplitName
from radfed.preprocessing.pipeline import prepare, prepare_label, preprocessing_digest
from radfed.task import SegmentationTask


@dataclass(frozen=True)
class Prepared:
    """A case as a network sees it, of any kind of task.

    Attributes:
        case: pseudonym.
    """

    case: str


@dataclass(frozen=True)
class Sample(Prepared):
    """A case of a segmentation task.

    Attributes:
        image: ``(C, H, W, D)``, on the task's grid.
        label: class indices ``(H, W, D)``, 0 for background.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]

    @cached_property
    def foreground(self) -> NDArray[np.int64]:
        """Flat places of the voxels with a label, in order; to look for them takes longer than to draw a patch."""
        return np.flatnonzero(self.label)


def load_samples(dataset: Dataset, split: SplitName, task: SegmentationTask) -> list[Sample]:
    """The prepared cases of a split, in an order that depends on their content alone.

    Raises:
        DataError: a case does not fit the task.
    """
    return [_load(dataset, case, task) for case in dataset.split(split)]


def _load(dataset: Dataset, case: Case, task: SegmentationTask) -> Sample:
    content = f"{case.digest[:16]}-{(case.label_digest or 'none')[:16]}"
    cached = dataset.root / "cache" / f"{content}-{preprocessing_digest(task)[:16]}.npz"
    if cached.is_file():
        with np.load(cached, allow_pickle=False) as arrays:
            return Sample(case.id, arrays["image"], arrays["label"])
    image, label = dataset.image(case), dataset.label(case)
    prepared, _ = prepare(image.array.astype(np.float32), image.affine, task)
    classes = prepare_label(label.array[0], label.affine, task)
    _store(cached, prepared, classes)
    return Sample(case.id, prepared, classes)


def _store(path: Path, image: NDArray[np.float32], label: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    np.savez(beside, image=image, label=label)
    os.replace(beside, path)
