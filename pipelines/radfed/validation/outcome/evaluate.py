"""Let a model answer the cases of datasets whose outcome is known."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from radfed.dataset.layout import Case, Dataset
from radfed.dataset.records import check_outcome
from radfed.errors import DataError, RadfedError
from radfed.inference.answers import batch_size
from radfed.inference.outcome import MIDDLE, Answerer, Prepared, logits_of, prepare_case, probabilities
from radfed.metrics.operating import choose_threshold
from radfed.metrics.small_cells import tellable
from radfed.task import OutcomeTask
from radfed.validation.chosen import Progress, cases_of, choose
from radfed.validation.outcome.cohort import cohort_of
from radfed.validation.outcome.results import (
    OperatingPoints,
    OutcomeCase,
    OutcomeEvaluation,
    has_thresholds,
    kind_of,
    questions_of,
)
from radfed.validation.results import Split


def evaluate_outcomes(
    answer: Answerer,
    task: OutcomeTask,
    datasets: Sequence[Dataset],
    split: Split = "test",
    on_progress: Progress | None = None,
    model: str = "federated",
    stated: Mapping[str, float] | None = None,
) -> OutcomeEvaluation:
    """Answer every case of a split.

    Args:
        answer: logits of prepared cases.
        task: the contract.
        datasets: one or more prepared datasets.
        split: which cases; ``all`` for a site that took no part in training.
        on_progress: called after each batch.
        model: name under which the answers are reported.
        stated: thresholds of the release; where it states none, they are fixed on the datasets' validation cases.

    Raises:
        InvalidInputError: there are no cases in the split, two datasets are of one site, or of another task.
        DataError: a case cannot be read or prepared, or nobody says what became of it.
        RadfedError: the model gives no finite number for a case.
    """
    chosen = choose(datasets, task, split)
    tuning: list[tuple[Dataset, Case]] = []
    if not stated and has_thresholds(kind_of(task), task.finds):
        tuning = [(dataset, case) for dataset in datasets for case in cases_of(dataset, "validation")]
    # A split may hold validation cases: none is answered twice.
    wanted = {(dataset.site, case.id): (dataset, case) for dataset, case in [*chosen, *tuning]}
    answered = dict(zip(wanted, _answer_all(answer, task, list(wanted.values()), on_progress), strict=True))
    return OutcomeEvaluation(
        model=model,
        task=task.name,
        task_digest=task.digest,
        split=split,
        kind=kind_of(task),
        finds=task.finds,
        operating=_operating(task, [answered[dataset.site, case.id] for dataset, case in tuning], stated or {}),
        cases=tuple(answered[dataset.site, case.id] for dataset, case in chosen),
    )


def fix_thresholds(task: OutcomeTask, cases: Sequence[OutcomeCase]) -> OperatingPoints:
    """Find the operating points on validation cases, by the task's rule.

    A question for which too few patients have one of the answers stays at a half; without any that could be fixed the
    origin is ``none``: a threshold between the scores of two patients is no operating point, and tells them. Of more
    than two classes, and of survival, there are none.
    """
    kind, thresholds, behind = kind_of(task), {}, {}
    if has_thresholds(kind, task.finds):
        cohort = cohort_of(cases, kind, task.finds)
        for name, place in questions_of(kind, task.finds):
            rule = task.operating_point
            there, found = cohort.truth[:, place], None
            if tellable((there, ~there), cohort.numbers):
                found = choose_threshold(there, cohort.scores[:, place], rule.rule, rule.value)
            thresholds[name] = MIDDLE if found is None else min(1.0, max(0.0, found))
            behind[name] = 0 if found is None else len(cases)
    return OperatingPoints(origin="validation" if any(behind.values()) else "none", thresholds=thresholds, cases=behind)


def _operating(task: OutcomeTask, cases: Sequence[OutcomeCase], stated: Mapping[str, float]) -> OperatingPoints:
    if not stated or not has_thresholds(kind_of(task), task.finds):
        return fix_thresholds(task, cases)
    names = [name for name, _ in questions_of(kind_of(task), task.finds)]
    return OperatingPoints(origin="release", thresholds={name: stated.get(name, MIDDLE) for name in names})


def _answer_all(
    answer: Answerer, task: OutcomeTask, cases: Sequence[tuple[Dataset, Case]], on_progress: Progress | None
) -> list[OutcomeCase]:
    size = batch_size(task)
    results: list[OutcomeCase] = []
    for start in range(0, len(cases), size):
        results += _answer_batch(answer, task, cases[start : start + size])
        if on_progress is not None:
            on_progress(len(results), len(cases))
    return results


def _answer_batch(answer: Answerer, task: OutcomeTask, batch: Sequence[tuple[Dataset, Case]]) -> list[OutcomeCase]:
    start = time.perf_counter()
    prepared = [read_case(dataset, case, task) for dataset, case in batch]
    values = probabilities(logits_of(prepared, answer), task)
    seconds = (time.perf_counter() - start) / len(batch)
    results = []
    for (dataset, case), row in zip(batch, values, strict=True):
        if not np.isfinite(row).all():
            raise RadfedError(
                f"{dataset.site} {case.id}: the model gave no finite number for this case; train or export it again"
            )
        assert case.outcome is not None  # read_case refuses a case without
        results.append(
            OutcomeCase(
                site=dataset.site, patient=case.patient, case=case.id, scores=tuple(float(value) for value in row),
                truth=case.outcome, seconds=seconds,
            )
        )  # fmt: skip
    return results


def read_case(dataset: Dataset, case: Case, task: OutcomeTask) -> Prepared:
    """A case as the network sees it, once its outcome is known to be one of the task's.

    Raises:
        DataError: it cannot be read or prepared, or its outcome is missing or unknown.
    """
    try:
        check_outcome(case.outcome, task)
        volume = dataset.image(case) if task.image is not None else None
        return prepare_case(volume, case.covariates, task)
    except DataError as error:
        raise DataError(error.reason, f"{dataset.site} {case.id}: {error}") from error
