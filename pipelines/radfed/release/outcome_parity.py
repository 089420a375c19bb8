"""The parity gate of tasks with one answer a case: torch and ONNX Runtime agree on batches, and from file to answer.

Made-up images go into files of every form that a clinic may give, and what the network sees of each file must be what
it would see of the image itself: a radiograph that is read upside down, or black for white, is found out.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from radfed.errors import GateError, RadfedError
from radfed.inference.checksums import file_digest
from radfed.inference.header import COVARIATES, INPUT, inputs_of
from radfed.inference.model import OnnxModel
from radfed.inference.outcome import Answerer, decide, logits_of, prepare_case, probabilities
from radfed.preprocessing.records import encode
from radfed.release.cases import GivenCase
from radfed.release.made_up import made_up_record
from radfed.release.outcome_cases import ReadyCase, dicom_answers, made_up_answers
from radfed.release.parity import LOGIT_TOLERANCE, TORCH_ERRORS, in_a_line, on_cpu, read_exported
from radfed.settings import Settings
from radfed.task import OutcomeTask

if TYPE_CHECKING:
    import torch

BATCHES = (1, 3, 8)
"""The file was traced with a batch of 2."""

PROBABILITY_TOLERANCE = 1e-4
INPUT_TOLERANCE = 1e-3
"""Of what the network sees of a file: decimal text in headers loses less; a mirrored image is far off."""

_SEED = 20


class BatchCheck(Settings):
    """Torch against ONNX Runtime on one batch of prepared cases."""

    shapes: dict[str, tuple[int, ...]] = Field(description="Of each input, the batch first")
    content: str
    largest_difference: float = Field(description="Of logits, absolute")
    largest_logit: float
    disagreement: float = Field(description="Share of cases with another answer")


class AnswerCheck(Settings):
    """Torch against ONNX Runtime from a case's file to its answer.

    It travels with the release, so it says nothing of a patient's case.
    """

    case: int
    form: str = Field(description="What was read: NIfTI, PNG, a kind of DICOM, a table, or a prepared dataset")
    made_up: bool = Field(description="Whether the gate made the case, or was given it")
    largest_difference: float = Field(description="Of probabilities (of log hazards, for survival), absolute")
    same_answer: bool
    input_difference: float | None = Field(
        description="Largest difference between what the network sees of the file and of the image that went into it; "
        "null for a case that was given, or has no image"
    )


class OutcomeParityReport(Settings):
    """Everything that the gate compared; it is only written when all of it passed."""

    passed: bool
    model_sha256: str
    weights_digest: str
    fixed_roi: bool
    logit_tolerance: float = LOGIT_TOLERANCE
    probability_tolerance: float = PROBABILITY_TOLERANCE
    input_tolerance: float = INPUT_TOLERANCE
    provider: str
    batches: tuple[BatchCheck, ...]
    cases: tuple[AnswerCheck, ...]


def torch_answerer(network: "torch.nn.Module") -> Answerer:
    """A copy of a network, on the CPU, whose errors come out as ``GateError``."""
    from radfed.training.predictor import OutcomePredictor

    quiet = OutcomePredictor(*on_cpu(network))

    def answer(image: NDArray[np.float32] | None, covariates: NDArray[np.float32] | None) -> NDArray[np.float32]:
        try:
            return quiet.answer(image, covariates)
        except TORCH_ERRORS as error:
            raise GateError(f"parity: torch failed on a batch: {in_a_line(error)}") from error

    return answer


def check_outcome_parity(
    network: "torch.nn.Module",
    path: Path,
    task: OutcomeTask,
    cases: Sequence[GivenCase] = (),
    dicom: Sequence[Path] = (),
) -> OutcomeParityReport:
    """Compare a network with its exported file.

    Args:
        network: the torch network.
        path: the ONNX file.
        task: the contract that the file must carry.
        cases: of prepared datasets, to answer with both, besides the made-up ones.
        dicom: folders of DICOM files to answer with both, of a task with images alone.

    Returns:
        The report, when everything is within tolerance.

    Raises:
        GateError: a check failed; the message says which, what was got and what is allowed.
        InvalidInputError: a folder of DICOM files holds nothing that fits the task.
    """
    found = [case for folder in dicom for case in dicom_answers(folder, task)]
    model = read_exported(path, task)
    reference = torch_answerer(network)
    batches = tuple(_check_batch(content, inputs, reference, model) for content, inputs in _batches(task))
    try:
        given = [
            ReadyCase("prepared dataset", False, prepare_case(case.volume, case.covariates, task)) for case in cases
        ]
        ready = [*made_up_answers(task), *given, *found]
    except GateError:
        raise
    except RadfedError as error:
        raise GateError(f"parity: a case cannot be prepared: {error}") from error
    return OutcomeParityReport(
        passed=True,
        model_sha256=file_digest(path),
        weights_digest=model.weights_digest,
        fixed_roi=model.fixed_roi,
        provider=model.provider,
        batches=batches,
        cases=tuple(_check_case(number, case, reference, model) for number, case in enumerate(ready, start=1)),
    )


def _batches(task: OutcomeTask) -> Iterator[tuple[str, Mapping[str, NDArray[np.float32]]]]:
    """Seeded batches of every size: noise alone, and body-like images with records as patients have them."""
    rng = np.random.default_rng(_SEED)
    for batch in BATCHES:
        noise = {
            name: rng.standard_normal((batch, *shape)).astype(np.float32) for name, shape in inputs_of(task).items()
        }
        yield "noise", noise
        likely = dict(noise)
        if INPUT in noise:
            sigma = (0, 0, *(3 for _ in noise[INPUT].shape[2:]))
            blobs = ndimage.gaussian_filter(noise[INPUT], sigma=sigma, mode="wrap")
            likely[INPUT] = (np.where(blobs > 0, 1.5, -0.5) + 0.1 * noise[INPUT]).astype(np.float32)
        if COVARIATES in noise:
            likely[COVARIATES] = np.stack([encode(made_up_record(task, rng), task) for _ in range(batch)])
        yield "likely", likely


def _check_batch(
    content: str, inputs: Mapping[str, NDArray[np.float32]], reference: Answerer, model: OnnxModel
) -> BatchCheck:
    task, image, covariates = model.outcome, inputs.get(INPUT), inputs.get(COVARIATES)
    shapes = {name: value.shape for name, value in inputs.items()}
    where = f"a batch of {next(iter(shapes.values()))[0]} ({content})"
    expected = reference(image, covariates)
    try:
        got = model.answer(image, covariates)
    except RadfedError as error:
        raise GateError(f"parity: ONNX Runtime cannot run {where}, torch can: {error}") from error
    if got.shape != expected.shape:
        raise GateError(f"parity: {where}: ONNX Runtime gave the shape {got.shape}, torch {expected.shape}")
    if not (np.isfinite(expected).all() and np.isfinite(got).all()):
        raise GateError(f"parity: {where}: logits are NaN or infinite; these weights cannot be released")
    difference = float(np.abs(expected - got).max())
    if difference > LOGIT_TOLERANCE:
        raise GateError(f"parity: {where}: logits differ by up to {difference:.3g}, allowed is {LOGIT_TOLERANCE:g}")
    answers = [[decide(list(row), task) for row in probabilities(logits, task)] for logits in (expected, got)]
    differ = [one != other for one, other in zip(*answers, strict=True)]
    if any(differ):
        raise GateError(f"parity: {where}: {sum(differ)} of {len(differ)} answers differ")
    return BatchCheck(
        shapes=shapes,
        content=content,
        largest_difference=difference,
        largest_logit=float(np.abs(expected).max()),
        disagreement=sum(differ) / len(differ),
    )


def _check_case(number: int, case: ReadyCase, reference: Answerer, model: OnnxModel) -> AnswerCheck:
    task, where = model.outcome, f"parity: case {number} ({case.form})"
    seen = _seen(case, where)
    try:
        expected, got = (
            probabilities(logits_of([case.prepared], answer), task)[0] for answer in (reference, model.answer)
        )
    except GateError:
        raise
    except RadfedError as error:
        raise GateError(f"{where} cannot be answered: {error}") from error
    difference = float(np.abs(expected - got).max())
    if not difference <= PROBABILITY_TOLERANCE:
        raise GateError(
            f"{where}: probabilities differ by up to {difference:.3g}, allowed is {PROBABILITY_TOLERANCE:g}"
        )
    same = decide(list(expected), task) == decide(list(got), task)
    if not same:
        raise GateError(f"{where}: the answers differ")
    return AnswerCheck(
        case=number,
        form=case.form,
        made_up=case.made_up,
        largest_difference=difference,
        same_answer=same,
        input_difference=seen,
    )


def _seen(case: ReadyCase, where: str) -> float | None:
    """How far what the network sees of a file is from what it should see."""
    if case.image is None or case.prepared.image is None:
        return None
    if case.image.shape != case.prepared.image.shape:
        raise GateError(
            f"{where}: the network sees {case.prepared.image.shape}, of the image itself {case.image.shape}"
        )
    difference = float(np.abs(case.image - case.prepared.image).max())
    if not difference <= INPUT_TOLERANCE:
        raise GateError(
            f"{where}: what the network sees of the file differs by up to {difference:.3g} from what it should see, "
            f"allowed is {INPUT_TOLERANCE:g}"
        )
    return difference
