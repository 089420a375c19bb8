"""Answers for cases of files and tables, in batches: one bad case stops no other, and all stand in one table."""

import csv
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from radfed.errors import InvalidInputError, RadfedError
from radfed.files import put_text
from radfed.imaging.dicom.options import ReadOptions
from radfed.inference.case_inputs import CaseInput, find_cases, read_case
from radfed.inference.model import OnnxModel
from radfed.inference.opened import open_model
from radfed.inference.operating import read_thresholds
from radfed.inference.outcome import Prepared, decide, logits_of, prepare_case, probabilities
from radfed.inference.predict import make_folder
from radfed.task import OutcomeTask

PREDICTIONS = "predictions.csv"
_BATCH_NUMBERS = 2**22
_LARGEST_BATCH = 64
_OWN_COLUMNS = ("case", "answer", "reason", "message")


@dataclass(frozen=True)
class OutcomePrediction:
    """What came of one case.

    Attributes:
        case: the input's file name without suffix, or what the table calls it.
        probabilities: by the names in ``task.finds``; of survival the log hazard. Empty if there is no answer.
        answer: class, or findings joined by ``;``; empty for survival. None if there is no answer.
        seconds: on the clock, reading included; cases of a batch share the network's time.
        reason: code of what went wrong; None if there is an answer.
        message: what went wrong, for people.
        warnings: what people should know though it went well.
    """

    case: str
    probabilities: dict[str, float] = field(default_factory=dict)
    answer: str | None = None
    seconds: float = 0.0
    reason: str | None = None
    message: str | None = None
    warnings: tuple[str, ...] = ()


def predict_outcomes(
    release: Path,
    source: Path,
    out: Path,
    covariates: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    threads: int | None = None,
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> list[OutcomePrediction]:
    """Answer for everything in a file or folder, and write ``predictions.csv`` into ``out``.

    Args:
        release: a release's folder, or an ``.onnx`` file with its contract.
        source: images, a file or a folder; of a task without images the table of records.
        out: folder of the result, made if missing.
        covariates: table of records for images, with the column ``case`` for an input's name without suffix.
        on_progress: called with (done, total) cases.
        threads: CPU threads; None takes all cores.
        reading: what reading DICOM may do to voxels.

    Returns:
        One entry a case; look at ``reason``.

    Raises:
        InvalidInputError: the release, the source or the table cannot be used at all.
        GateError: the release's model is not the one that it lists.
        OSError: the table cannot be written.
    """
    model = open_model(release, threads)
    thresholds = read_thresholds(release, model.weights_digest)
    return answer_cases(model, source, out, covariates, thresholds, on_progress, reading)


def answer_cases(
    model: OnnxModel,
    source: Path,
    out: Path,
    covariates: Path | None = None,
    thresholds: Mapping[str, float] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> list[OutcomePrediction]:
    """Answer with an opened model; see ``predict_outcomes``.

    Raises:
        InvalidInputError: the model gives no answers, or the source or the table cannot be used at all.
        OSError: the table cannot be written.
    """
    task, table = model.outcome, out / PREDICTIONS
    if table.resolve() in {path.resolve() for path in (source, covariates) if path is not None}:
        raise InvalidInputError(f"{table}: is the input itself; give another --out")
    cases = find_cases(source, covariates, task)
    make_folder(out)
    found = answers_of(cases, model, thresholds, on_progress, reading)
    put_text(table, as_table(found, task))
    return found


def answers_of(
    cases: Sequence[CaseInput],
    model: OnnxModel,
    thresholds: Mapping[str, float] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    reading: ReadOptions = ReadOptions(),  # noqa: B008 - frozen
) -> list[OutcomePrediction]:
    """An entry for each case, in their order; what fails says why."""
    on_progress(0, len(cases))
    found: list[OutcomePrediction] = []
    size = batch_size(model.outcome)
    for first in range(0, len(cases), size):
        found += _batch(cases[first : first + size], model, thresholds or {}, reading)
        on_progress(len(found), len(cases))
    return found


def batch_size(task: OutcomeTask) -> int:
    """Cases that go through the network together: as many as keep the batch of a moderate size in memory."""
    image = task.image
    numbers = task.width + (len(image.channels) * math.prod(image.size) if image is not None else 0)
    return max(1, min(_LARGEST_BATCH, _BATCH_NUMBERS // numbers))


def as_table(predictions: Sequence[OutcomePrediction], task: OutcomeTask) -> str:
    """The predictions as CSV: ``case``, one column for each of ``task.finds``, ``answer``, ``reason``, ``message``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    case, *rest = _OWN_COLUMNS
    writer.writerow([case, *(column_of(name) for name in task.finds), *rest])
    for one in predictions:
        values = [f"{one.probabilities[name]:.9g}" if one.probabilities else "" for name in task.finds]
        writer.writerow([one.case, *values, one.answer or "", one.reason or "", one.message or ""])
    return text.getvalue()


def column_of(name: str) -> str:
    """The column of a class, finding or hazard: its name, unless that is a column already."""
    return f"{name} (probability)" if name in _OWN_COLUMNS else name


def _batch(
    cases: Sequence[CaseInput], model: OnnxModel, thresholds: Mapping[str, float], reading: ReadOptions
) -> list[OutcomePrediction]:
    made: list[OutcomePrediction] = []
    ready: list[tuple[int, Prepared]] = []
    for index, case in enumerate(cases):
        started = time.monotonic()
        one = OutcomePrediction(case.name, warnings=case.warnings)
        try:
            ready.append((index, prepare_case(*read_case(case, model.outcome, reading), model.outcome)))
        except RadfedError as error:
            one = replace(one, reason=error.reason, message=str(error))
        made.append(replace(one, seconds=time.monotonic() - started))
    for index, answered in _answered(ready, made, model, thresholds):
        made[index] = answered
    return made


def _answered(
    ready: Sequence[tuple[int, Prepared]],
    made: Sequence[OutcomePrediction],
    model: OnnxModel,
    thresholds: Mapping[str, float],
) -> list[tuple[int, OutcomePrediction]]:
    """The answers of prepared cases, by their index; if the batch fails, each is tried alone."""
    if not ready:
        return []
    task, started = model.outcome, time.monotonic()
    try:
        logits = logits_of([case for _, case in ready], model.answer)
    except RadfedError as error:
        if len(ready) == 1:
            index = ready[0][0]
            return [(index, replace(made[index], reason=error.reason, message=str(error)))]
        return [one for case in ready for one in _answered([case], made, model, thresholds)]
    share = (time.monotonic() - started) / len(ready)
    found = []
    for (index, _), values in zip(ready, probabilities(logits, task), strict=True):
        one = replace(made[index], seconds=made[index].seconds + share)
        if np.isfinite(values).all():
            named = dict(zip(task.finds, (float(value) for value in values), strict=True))
            one = replace(one, probabilities=named, answer=decide(list(named.values()), task, thresholds))
        else:
            one = replace(one, reason=RadfedError.reason, message="the model gave no finite number for this case")
        found.append((index, one))
    return found
