"""Prepared cases of outcome tasks: images of one size from one file a split, records and targets as vectors."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Dataset, Observed
from radfed.dataset.records import check_outcome
from radfed.dataset.splits import SplitName
from radfed.errors import DataError
from radfed.preprocessing.picture import picture_digest, prepare_image
from radfed.preprocessing.records import encode
from radfed.task import ImageInput, MultiClass, MultiLabel, OutcomeTask, Survival
from radfed.training.samples import Prepared


@dataclass(frozen=True)
class OutcomeSample(Prepared):
    """A case of an outcome task.

    Attributes:
        image: ``(C, *size)``; None where the task has no image.
        record: encoded covariates ``(width,)``; None where the task has none.
        target: index of the class ``(1,)``; 0 or 1 for each finding ``(K,)``; time and event ``(2,)``.
    """

    image: NDArray[np.float32] | None
    record: NDArray[np.float32] | None
    target: NDArray[np.float32]

    @property
    def inputs(self) -> tuple[NDArray[np.float32], ...]:
        """What the network takes, in its order."""
        return tuple(value for value in (self.image, self.record) if value is not None)


def load_outcome_samples(dataset: Dataset, split: SplitName, task: OutcomeTask) -> list[OutcomeSample]:
    """The prepared cases of a split, in an order that depends on their content alone.

    Raises:
        DataError: a case does not fit the task, or nobody says what became of it.
    """
    cases = dataset.split(split)
    if not cases:
        return []
    images: Sequence[NDArray[np.float32] | None] = [None] * len(cases)
    if task.image is not None:
        # The rows of one array, which stays in one piece.
        images = cast("Sequence[NDArray[np.float32]]", _images(dataset, split, cases, task, task.image))
    return [
        OutcomeSample(case.id, image, encode(case.covariates, task) if task.covariates else None, target_of(case, task))
        for case, image in zip(cases, images, strict=True)
    ]


def target_of(case: Case, task: OutcomeTask) -> NDArray[np.float32]:
    """What the network is to learn of a case, see ``OutcomeSample``.

    Raises:
        DataError: ``no_outcome``, or ``unknown_outcome`` for one that the task does not have.
    """
    try:
        check_outcome(case.outcome, task)
    except DataError as error:
        raise DataError(error.reason, f"{case.id}: {error}") from error
    match task.outcome, case.outcome:
        case MultiClass(classes=classes), str(name):
            values = [float(classes.index(name))]
        case MultiLabel(findings=findings), tuple(there):
            values = [float(finding in there) for finding in findings]
        case Survival(), Observed(time=time, event=event):
            values = [time, float(event)]
        case _:
            raise AssertionError("check_outcome refuses everything else")
    return np.array(values, dtype=np.float32)


def _images(
    dataset: Dataset, split: SplitName, cases: Sequence[Case], task: OutcomeTask, image: ImageInput
) -> NDArray[np.float32]:
    """The prepared images ``(N, C, *size)`` of a split, from its file in the cache."""
    cached = dataset.root / "cache" / f"{split}-{_key(cases, task)[:32]}.npy"
    if cached.is_file():
        kept: NDArray[np.float32] = np.load(cached, allow_pickle=False)
        return kept
    prepared = np.empty((len(cases), len(image.channels), *image.size), dtype=np.float32)
    for place, case in zip(prepared, cases, strict=True):
        volume = dataset.image(case)
        try:
            place[...] = prepare_image(volume.array.astype(np.float32, copy=False), volume.affine, task)
        except DataError as error:
            raise DataError(error.reason, f"{case.id}: {error}") from error
    _store(cached, prepared)
    return prepared


def _key(cases: Sequence[Case], task: OutcomeTask) -> str:
    """SHA-256 over all that decides the prepared images of a split: records and outcomes are not among it."""
    content = [picture_digest(task), *(case.pixels or "" for case in cases)]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _store(path: Path, prepared: NDArray[np.float32]) -> None:
    path.parent.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    np.save(beside, prepared)
    os.replace(beside, path)
