"""The vectors by which the release of an outcome task can be tried on another machine: cases and answers to expect."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from radfed.errors import GateError
from radfed.files import put_text
from radfed.inference.answers import PREDICTIONS, OutcomePrediction, answers_of, as_table, column_of
from radfed.inference.case_inputs import find_cases
from radfed.inference.header import inputs_of
from radfed.inference.model import OnnxModel
from radfed.release.conformance import VECTORS
from radfed.release.outcome_files import RECORDS, made_up_cases, write_case, write_records
from radfed.task import OutcomeTask
from radfed.weights import save_weights

INPUTS = "inputs"
_SEED = 7
_BATCH = 2


def write_outcome_vectors(folder: Path, model: OnnxModel, thresholds: Mapping[str, float]) -> None:
    """Write three made-up cases with the answers that the model gives, and a batch of two with its logits.

    ``inputs/`` holds the images and ``records.csv`` the records, as far as the task has them; ``predictions.csv`` is
    what ``radfed predict`` writes of them. ``logits.safetensors`` holds ``image`` ``(2, C, *size)`` and ``covariates``
    ``(2, width)``, prepared, and ``logits`` ``(2, outputs)``.

    Raises:
        GateError: the model cannot answer for a case that was made for it.
    """
    task = model.outcome
    folder.mkdir(parents=True)
    cases = made_up_cases(task)
    if task.image is not None:
        (folder / INPUTS).mkdir()
        for case in cases:
            write_case(folder / INPUTS, case, task)
    if task.covariates:
        write_records(folder / RECORDS, {case.name: case.covariates for case in cases}, task)
    found = answer_vectors(folder, model, thresholds)
    failed = [f"{one.case}: {one.message}" for one in found if one.reason is not None]
    if failed or len(found) != len(cases):
        raise GateError(f"conformance: the made-up cases cannot be answered: {'; '.join(failed)}")
    put_text(folder / PREDICTIONS, as_table(found, task))
    rng = np.random.default_rng(_SEED)
    inputs = {name: rng.standard_normal((_BATCH, *shape)).astype(np.float32) for name, shape in inputs_of(task).items()}
    save_weights(folder / VECTORS, {**inputs, "logits": model.answer(**inputs)})


def answer_vectors(folder: Path, model: OnnxModel, thresholds: Mapping[str, float]) -> list[OutcomePrediction]:
    """What the model says of the cases that ``write_outcome_vectors`` wrote."""
    task, records = model.outcome, folder / RECORDS
    if task.image is None:
        cases = find_cases(records, None, task)
    else:
        cases = find_cases(folder / INPUTS, records if task.covariates else None, task)
    return answers_of(cases, model, thresholds)


def read_expected(path: Path, task: OutcomeTask) -> dict[str, tuple[dict[str, float], str]]:
    """Probabilities and answer of each case in a ``predictions.csv``.

    Raises:
        GateError: a column or a number is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return {
            row["case"]: ({name: float(row[column_of(name)]) for name in task.finds}, row["answer"]) for row in rows
        }
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise GateError(f"{path.name} is no table of predictions of this task ({type(error).__name__})") from error
