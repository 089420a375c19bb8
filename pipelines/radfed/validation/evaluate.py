"""Run a model over datasets and score each case on the scanner's own grid."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Dataset
from radfed.errors import DataError
from radfed.imaging.volume import Volume
from radfed.inference.segment import segment
from radfed.inference.sliding_window import Predictor
from radfed.metrics.score import score
from radfed.task import SegmentationTask
from radfed.validation.chosen import Progress, choose
from radfed.validation.results import CaseResult, Evaluation, LabelResult, Split


def evaluate(
    predict: Predictor,
    task: SegmentationTask,
    datasets: Sequence[Dataset],
    split: Split = "test",
    on_progress: Progress | None = None,
    model: str = "federated",
) -> Evaluation:
    """Segment every case of a split and compare it with its reference.

    Args:
        predict: logits ``(B, K + 1, *roi)`` for windows ``(B, C, *roi)``.
        task: the contract.
        datasets: one or more prepared datasets.
        split: which cases; ``all`` for a site that took no part in training.
        on_progress: called after each case.
        model: name under which the scores are reported.

    Raises:
        InvalidInputError: there are no cases in the split, two datasets are of one site, or of another task.
        DataError: a case has no reference, or one on another grid.
    """
    chosen = choose(datasets, task, split)
    results = []
    for done, (dataset, case) in enumerate(chosen, start=1):
        results.append(_evaluate_case(predict, task, dataset, case))
        if on_progress is not None:
            on_progress(done, len(chosen))
    return Evaluation(model=model, task=task.name, task_digest=task.digest, split=split, cases=tuple(results))


def read_pair(dataset: Dataset, case: Case) -> tuple[Volume, NDArray[np.integer]]:
    """The image of a case and its reference label map ``(H, W, D)`` on the same grid.

    Raises:
        DataError: the case has no reference, or one on another grid.
    """
    image = dataset.image(case)
    reference = dataset.label(case).array[0]
    if reference.shape != image.shape:
        raise DataError(
            "shape_mismatch",
            f"{dataset.site} {case.id}: the label's shape must be the image's {image.shape}, got {reference.shape}; "
            "ingest the dataset again",
        )
    return image, reference


def compare_masks(
    mask: NDArray[np.integer], reference: NDArray[np.integer], image: Volume, task: SegmentationTask
) -> tuple[LabelResult, ...]:
    """Score each label of a mask ``(H, W, D)`` against its reference on the grid of the image."""
    voxel_ml = image.voxel_volume / 1000.0
    labels = []
    for label in task.labels:
        marked, wanted = mask == label.value, reference == label.value
        found = score(marked, wanted, image.spacing, task.nsd_tolerance)
        labels.append(
            LabelResult(
                label=label.name,
                outcome=found.outcome,
                dice=found.dice,
                hd95=found.hd95,
                nsd=found.nsd,
                reference_ml=int(wanted.sum()) * voxel_ml,
                prediction_ml=int(marked.sum()) * voxel_ml,
            )
        )
    return tuple(labels)


def _evaluate_case(predict: Predictor, task: SegmentationTask, dataset: Dataset, case: Case) -> CaseResult:
    image, reference = read_pair(dataset, case)
    start = time.perf_counter()
    mask = segment(image, task, predict)
    seconds = time.perf_counter() - start
    return CaseResult(
        site=dataset.site,
        patient=case.patient,
        case=case.id,
        digest=case.digest,
        labels=compare_masks(mask, reference, image, task),
        seconds=seconds,
    )
