"""The claims about what the model does, of tasks with one answer a case; see ``radfed.release.claims``."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfed.errors import GateError
from radfed.inference.answers import PREDICTIONS
from radfed.inference.checksums import file_digest
from radfed.inference.header import COVARIATES, INPUT, inputs_of
from radfed.inference.opened import MODEL
from radfed.inference.operating import OPERATING, OperatingThresholds, threshold_columns
from radfed.release.claims import compare_logits, load_network, read_vectors
from radfed.release.contents import read_json
from radfed.release.layout import CONFORMANCE, PARITY
from radfed.release.outcome_conformance import INPUTS, answer_vectors, read_expected
from radfed.release.outcome_files import RECORDS
from radfed.release.outcome_parity import (
    INPUT_TOLERANCE,
    PROBABILITY_TOLERANCE,
    OutcomeParityReport,
    torch_answerer,
)
from radfed.release.parity import LOGIT_TOLERANCE
from radfed.release.reading import Release
from radfed.task import OutcomeTask

Vectors = dict[str, NDArray[Any]]


def check_outcome_parity_report(release: Release) -> str:
    """The gate's report is of this file, passed, and its figures are within the gate's tolerances."""
    report = OutcomeParityReport.check(read_json(release, PARITY), PARITY)
    model = file_digest(release.file(MODEL))
    if report.model_sha256 != model or report.weights_digest != release.model.weights_digest:
        raise GateError(f"it is about another model: {report.model_sha256[:12]}, {MODEL} is {model[:12]}")
    if not report.passed or not report.batches or not report.cases:
        raise GateError("the gate was not passed, or nothing was compared")
    logits = max(batch.largest_difference for batch in report.batches)
    apart = max(case.largest_difference for case in report.cases)
    seen = max((case.input_difference or 0.0 for case in report.cases), default=0.0)
    other = any(batch.disagreement for batch in report.batches) or not all(case.same_answer for case in report.cases)
    if logits > LOGIT_TOLERANCE or apart > PROBABILITY_TOLERANCE or seen > INPUT_TOLERANCE or other:
        raise GateError(
            f"logits differ by {logits:.3g}, probabilities by {apart:.3g}, what the network sees by {seen:.3g}"
            f"{', and answers differ' if other else ''}: beyond the tolerance"
        )
    return f"logits within {logits:.1e}, probabilities within {apart:.1e}, as reported by the builder"


def check_outcome_logits(release: Release) -> str:
    """A stored batch gives the stored logits, and its cases one by one give the same."""
    vectors, expected = _batch(release)
    got = release.model.answer(vectors.get(INPUT), vectors.get(COVARIATES))
    difference = compare_logits(got, expected)
    singly = [
        release.model.answer(**{name: value[index : index + 1] for name, value in vectors.items()})
        for index in range(len(expected))
    ]
    return f"largest difference {max(difference, compare_logits(np.concatenate(singly), expected)):.1e}"


def check_outcome_answers(release: Release) -> str:
    """The stored cases give the stored probabilities and answers."""
    task = release.model.outcome
    expected = read_expected(release.file(f"{CONFORMANCE}/{PREDICTIONS}"), task)
    found = answer_vectors(_folder(release, task), release.model, _thresholds(release, task))
    if sorted(one.case for one in found) != sorted(expected) or not found:
        raise GateError(f"{PREDICTIONS} and the inputs do not name the same cases")
    worst = 0.0
    for one in found:
        if one.reason is not None:
            raise GateError(f"{one.case} has no answer here: {one.message}")
        stated, answer = expected[one.case]
        worst = max(worst, *(abs(one.probabilities[name] - stated[name]) for name in task.finds))
        if not worst <= PROBABILITY_TOLERANCE or one.answer != answer:
            raise GateError(
                f"{one.case}: got {one.answer!r}, expected is {answer!r}; values differ by up to {worst:.3g}"
            )
    return f"{len(found)} cases, largest difference {worst:.1e}"


def check_outcome_rebuild(release: Release) -> str:
    """The torch network with ``model.safetensors`` gives the logits of ``model.onnx``."""
    network = load_network(release)
    vectors, _ = _batch(release)
    image, covariates = vectors.get(INPUT), vectors.get(COVARIATES)
    expected = release.model.answer(image, covariates)
    difference = compare_logits(torch_answerer(network)(image, covariates), expected)
    return f"largest difference {difference:.1e}"


def _batch(release: Release) -> tuple[Vectors, NDArray[np.float32]]:
    vectors = read_vectors(release, (*inputs_of(release.model.outcome), "logits"))
    expected: NDArray[np.float32] = vectors.pop("logits")
    return vectors, expected


def _folder(release: Release, task: OutcomeTask) -> Path:
    """Where the stored cases lie; every file of it was handed out as a plain one."""
    folder = release.file(f"{CONFORMANCE}/{PREDICTIONS}").parent
    if task.covariates:
        release.file(f"{CONFORMANCE}/{RECORDS}")
    if task.image is not None:
        for path in sorted((folder / INPUTS).iterdir()):
            release.file(f"{CONFORMANCE}/{INPUTS}/{path.name}")
    return folder


def _thresholds(release: Release, task: OutcomeTask) -> dict[str, float]:
    """The operating point, if one is stated: of this model, and as the contract has it fixed."""
    if not release.has(OPERATING):
        return {}
    stated = OperatingThresholds.read(release.file(OPERATING))
    if stated.model != release.model.weights_digest:
        raise GateError(f"{OPERATING} is of another model: {stated.model[:12]}")
    if stated.rule != task.operating_point:
        raise GateError(f"{OPERATING} was fixed by another rule ({stated.rule.rule}) than the contract's")
    foreign = sorted(stated.thresholds.keys() - threshold_columns(task).keys())
    if foreign:
        raise GateError(f"{OPERATING} states thresholds of what has none: {', '.join(foreign)[:80]}")
    return dict(stated.thresholds)
