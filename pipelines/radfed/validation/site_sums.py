"""A site's answer to the question how good a released model is there."""

from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.errors import DataError
from radfed.inference.opened import open_model
from radfed.inference.operating import read_thresholds
from radfed.inference.outcome import MIDDLE
from radfed.metrics.site_validation import SiteValidation
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.task import OutcomeTask, SegmentationTask
from radfed.validation.chosen import cases_of
from radfed.validation.evaluate import evaluate
from radfed.validation.mask_tables import mask_sums
from radfed.validation.outcome.answer_tables import answer_sums
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.results import kind_of, questions_of
from radfed.validation.results import Split


def site_validation(release: Path, dataset: Dataset, split: Split, threads: int | None = None) -> SiteValidation:
    """Score a release on a split of this site's cases, and keep what may leave.

    Args:
        release: its folder.
        dataset: the site's.
        split: which cases.
        threads: CPU threads; None takes all cores.

    Raises:
        InvalidInputError: there is no usable model, or the dataset is of another task.
        GateError: a file of the release is not the one that it lists.
        DataError: there are too few patients for any number to leave, or a case cannot be read.
    """
    patients = {case.patient for case in cases_of(dataset, split)}
    if len(patients) < LEAST_PATIENTS:
        raise DataError(
            "too_few_patients",
            f"{dataset.site}: {len(patients)} patient(s) in the split {split!r}; a number of fewer than "
            f"{LEAST_PATIENTS} does not leave the site",
        )
    model = open_model(release, threads)
    about = {
        "model": model.weights_digest,
        "task": model.task.name,
        "task_digest": model.task.digest,
        "split": split,
        "dataset": dataset.digest,
        "phantom": dataset.phantom,
        "cases": len(cases_of(dataset, split)),
        "patients": len(patients),
    }
    match model.task:
        case SegmentationTask():
            masks = evaluate(model, model.task, (dataset,), split)
            return SiteValidation.check(about | {"masks": mask_sums(masks)}, "answer")
        case OutcomeTask():
            stated = common_thresholds(model.task, read_thresholds(release, model.weights_digest))
            answers = evaluate_outcomes(model.answer, model.task, (dataset,), split, stated=stated)
            return SiteValidation.check(about | {"answers": answer_sums(answers)}, "answer")


def common_thresholds(task: OutcomeTask, stated: dict[str, float]) -> dict[str, float]:
    """The operating points that are the same at every site: the release's, or a half where it states none."""
    return {name: stated.get(name, MIDDLE) for name, _ in questions_of(kind_of(task), task.finds)}
