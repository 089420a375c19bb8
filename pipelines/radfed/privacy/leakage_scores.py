"""What an attacker who has the model and a patient's case can compute of it: one number a patient and attack.

Each is higher for cases that look trained on. ``loss`` and ``dice`` need the case's reference or outcome,
``confidence`` the case alone. What a patient's cases give is averaged: the question is whether the patient was there,
not the scan.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax, softmax, xlogy

from radfed.dataset.layout import Case, Dataset, Observed
from radfed.dataset.records import check_outcome
from radfed.errors import DataError, InvalidInputError, RadfedError
from radfed.inference.answers import batch_size
from radfed.inference.outcome import logits_of, prepare_case
from radfed.inference.sliding_window import slide
from radfed.metrics.overlap import dice
from radfed.preprocessing.pipeline import prepare, prepare_label
from radfed.task import MultiClass, MultiLabel, OutcomeTask, SegmentationTask, Survival

Scores = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Told how many cases are done, and of how many."""
_LEAST = 1e-12


class Model(Protocol):
    """A network with its contract: a release's ``radfed.inference.model.OnnxModel``, or a run's network in torch."""

    @property
    def task(self) -> SegmentationTask | OutcomeTask:
        """The contract."""

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights."""

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits ``(B, K + 1, *window)`` of windows ``(B, C, *window)``, of a segmentation task."""

    def answer(
        self, image: NDArray[np.float32] | None = None, covariates: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Logits ``(B, outputs)`` of images ``(B, C, *size)`` and records ``(B, width)``, of an outcome task."""


def patient_scores(
    model: Model, dataset: Dataset, cases: Sequence[Case], on_progress: Progress | None = None
) -> dict[str, dict[str, float]]:
    """Of every attack, the mean over each patient's cases.

    Args:
        model: the one that is audited.
        dataset: where the cases are.
        cases: of any split, each labelled.
        on_progress: called as cases are done.

    Raises:
        DataError: a case cannot be used with the task.
        RadfedError: the model gives no finite number for a case.
    """
    by_case = case_scores(model, dataset, cases, on_progress)
    patients: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        patients.setdefault(case.patient, []).append(index)
    return {
        attack: {patient: float(values[places].mean()) for patient, places in patients.items()}
        for attack, values in by_case.items()
    }


def case_scores(
    model: Model, dataset: Dataset, cases: Sequence[Case], on_progress: Progress | None = None
) -> dict[str, Scores]:
    """Of every attack, one score a case ``(N,)``; see ``patient_scores``."""
    found: dict[str, Scores]
    match model.task:
        case SegmentationTask() as task:
            found = _of_masks(model, task, dataset, cases, on_progress)
        case OutcomeTask() as task:
            found = outcome_scores(_all_logits(model, task, dataset, cases, on_progress), cases, task)
        case _:
            raise InvalidInputError(f"{model.task.name}: there is no audit for tasks of the kind {model.task.kind}")
    for attack, values in found.items():
        if not np.isfinite(values).all():
            raise RadfedError(
                f"{dataset.site}: {attack} of a case is no finite number; train or export the model again"
            )
    return found


def mask_scores(logits: NDArray[np.floating], reference: NDArray[np.integer]) -> dict[str, float]:
    """The scores of one case of a segmentation task.

    Args:
        logits: ``(K + 1, H, W, D)`` on the task's grid.
        reference: class indices ``(H, W, D)``.

    Returns:
        ``loss``: less the sum of soft Dice loss and cross entropy, as in training, over the whole case. ``dice``: mean
        over labels. ``confidence``: less the mean entropy of the voxels (nats).
    """
    logs = log_softmax(logits.astype(np.float64), axis=0)
    chances = np.exp(logs)
    classes = logits.shape[0]
    cross = -float(np.take_along_axis(logs, reference[None].astype(np.intp), axis=0).mean())
    predicted = logits.argmax(axis=0)
    soft, hard = [], []
    for index in range(classes):
        there = reference == index
        total = float(chances[index].sum()) + int(there.sum())
        soft.append(2 * float(chances[index][there].sum()) / max(total, _LEAST))
        if index:
            hard.append(dice(predicted == index, there))
    return {
        "loss": -(cross + 1 - float(np.mean(soft))),
        "dice": float(np.mean(hard)),
        "confidence": float((chances * logs).sum(axis=0).mean()),
    }


def outcome_scores(logits: NDArray[np.floating], cases: Sequence[Case], task: OutcomeTask) -> dict[str, Scores]:
    """The scores of cases with one answer each.

    Args:
        logits: ``(N, outputs)``.
        cases: with their outcomes.
        task: the contract.

    Returns:
        ``loss``: less the cross entropy, which orders cases as the probability of the true class does; of findings
        their mean; of survival half the squared deviance residual, with Breslow's hazard over the given cases.
        ``confidence``: less the entropy of the answer (nats); of survival there is none.
    """
    wide = logits.astype(np.float64)
    match task.outcome:
        case MultiClass(classes=classes):
            truth = np.array([classes.index(str(case.outcome)) for case in cases], dtype=np.intp)
            loss = -log_softmax(wide, axis=1)[np.arange(len(cases)), truth]
            chances = softmax(wide, axis=1)
            return {"loss": -loss, "confidence": xlogy(chances, chances).sum(axis=1)}
        case MultiLabel(findings=findings):
            there = np.array([[f in _names(case) for f in findings] for case in cases]).reshape(wide.shape)
            loss = -np.where(there, log_expit(wide), log_expit(-wide)).mean(axis=1)
            chances = np.exp(log_expit(wide))
            certain = (chances * log_expit(wide) + (1 - chances) * log_expit(-wide)).mean(axis=1)
            return {"loss": -loss, "confidence": certain}
        case Survival():
            seen = [case.outcome for case in cases if isinstance(case.outcome, Observed)]
            times, events = np.array([one.time for one in seen]), np.array([one.event for one in seen])
            return {"loss": -deviances(times, events, wide[:, 0]) / 2}


def deviances(times: Scores, events: NDArray[np.bool_], hazards: Scores) -> Scores:
    """Squared deviance residuals ``(N,)`` of a Cox model (Therneau et al. 1990), with Breslow's cumulative hazard."""
    order = np.argsort(times, kind="stable")
    # Of equal times all are still at risk, and all events count.
    first = np.searchsorted(times[order], times, side="left")
    last = np.searchsorted(times[order], times, side="right")
    weights = np.exp(hazards[order] - hazards.max())
    at_risk = np.cumsum(weights[::-1])[::-1]
    steps = events[order] / at_risk[first[order]]
    expected = np.cumsum(steps)[last - 1] * np.exp(hazards - hazards.max())
    residual = events - expected
    return np.asarray(np.maximum(0.0, -2 * (residual + xlogy(events, np.maximum(expected, _LEAST)))), dtype=np.float64)


def _names(case: Case) -> tuple[str, ...]:
    return case.outcome if isinstance(case.outcome, tuple) else ()


def _of_masks(
    model: Model, task: SegmentationTask, dataset: Dataset, cases: Sequence[Case], on_progress: Progress | None
) -> dict[str, Scores]:
    rows: list[Mapping[str, float]] = []
    for case in cases:
        try:
            volume, label = dataset.image(case), dataset.label(case)
            image, _ = prepare(volume.array.astype(np.float32, copy=False), volume.affine, task)
            reference = prepare_label(label.array[0], label.affine, task)
        except DataError as error:
            raise DataError(error.reason, f"{dataset.site} {case.id}: {error}") from error
        rows.append(mask_scores(slide(image, model, task.window, task.overlap), reference))
        if on_progress is not None:
            on_progress(len(rows), len(cases))
    return {name: np.array([row[name] for row in rows]) for name in ("loss", "dice", "confidence")}


def _all_logits(
    model: Model, task: OutcomeTask, dataset: Dataset, cases: Sequence[Case], on_progress: Progress | None
) -> NDArray[np.float32]:
    size, found = batch_size(task), []
    for start in range(0, len(cases), size):
        batch = []
        for case in cases[start : start + size]:
            try:
                check_outcome(case.outcome, task)
                volume = dataset.image(case) if task.image is not None else None
                batch.append(prepare_case(volume, case.covariates, task))
            except DataError as error:
                raise DataError(error.reason, f"{dataset.site} {case.id}: {error}") from error
        found.append(logits_of(batch, model.answer))
        if on_progress is not None:
            on_progress(start + len(batch), len(cases))
    return np.concatenate(found) if found else np.empty((0, task.outputs), dtype=np.float32)
