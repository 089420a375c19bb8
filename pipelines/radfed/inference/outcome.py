"""A case in, an answer out: the line that torch and ONNX Runtime share for tasks with one answer a case."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from radfed.imaging.volume import Volume
from radfed.preprocessing.picture import prepare_image
from radfed.preprocessing.records import encode
from radfed.task import MultiClass, MultiLabel, OutcomeTask, Survival

Answerer = Callable[[NDArray[np.float32] | None, NDArray[np.float32] | None], NDArray[np.float32]]
"""Logits ``(B, outputs)`` for prepared images ``(B, C, *size)`` and encoded records ``(B, width)``, where there are."""

MIDDLE = 0.5
"""The threshold of a finding for which no operating point is stated."""


@dataclass(frozen=True)
class Prepared:
    """A case as the network sees it.

    Attributes:
        image: ``(C, *size)``; None where the task has no image.
        record: ``(width,)``; None where the task has no covariates.
    """

    image: NDArray[np.float32] | None
    record: NDArray[np.float32] | None


def prepare_case(volume: Volume | None, covariates: Mapping[str, float | str], task: OutcomeTask) -> Prepared:
    """Bring a case's image and record to what the network takes.

    Args:
        volume: as stored; not looked at where the task has no image.
        covariates: by the task's names; a missing value is an absent key.
        task: the contract.

    Raises:
        DataError: the image or the record does not fit the task.
    """
    image = None
    if task.image is not None and volume is not None:
        image = prepare_image(volume.array.astype(np.float32, copy=False), volume.affine, task)
    return Prepared(image, encode(covariates, task) if task.covariates else None)


def logits_of(cases: Sequence[Prepared], answer: Answerer) -> NDArray[np.float32]:
    """Logits ``(B, outputs)`` of a batch of cases, at least one.

    Raises:
        RadfedError: the network cannot compute them.
    """
    images = [case.image for case in cases if case.image is not None]
    records = [case.record for case in cases if case.record is not None]
    return answer(np.stack(images) if images else None, np.stack(records) if records else None)


def probabilities(logits: NDArray[np.floating], task: OutcomeTask) -> NDArray[np.float64]:
    """What the logits ``(B, outputs)`` mean, in the order of ``task.finds``.

    Of classes they add up to 1, findings have one each; of survival it is the log hazard itself, which is no
    probability: it orders patients of one cohort by risk.
    """
    wide = logits.astype(np.float64)
    match task.outcome:
        case MultiClass():
            return np.asarray(softmax(wide, axis=1))
        case MultiLabel():
            return np.asarray(expit(wide))
        case Survival():
            return wide


def decide(values: Sequence[float], task: OutcomeTask, thresholds: Mapping[str, float] | None = None) -> str:
    """What the model says of a case.

    Args:
        values: of one case, from ``probabilities``.
        task: the contract.
        thresholds: operating point of the positive one of two classes, or of findings, by name.

    Returns:
        The name of a class: of two with a threshold the second if it reaches it, else the likeliest. Names of findings
        that reach their threshold, joined by ``;``, and nothing for none. Nothing for survival.
    """
    stated = thresholds or {}
    match task.outcome:
        case MultiClass(classes=classes):
            if len(classes) == 2 and classes[1] in stated:
                return classes[int(values[1] >= stated[classes[1]])]
            return classes[int(np.argmax(values))]
        case MultiLabel(findings=findings):
            reached = (value >= stated.get(name, MIDDLE) for name, value in zip(findings, values, strict=True))
            return ";".join(name for name, there in zip(findings, reached, strict=True) if there)
        case Survival():
            return ""
