"""The parity gate: no release unless torch and ONNX Runtime agree on windows, from scan to mask and from DICOM to SEG.

A file that declares free axes need not have them (a SwinUNETR exported so fails at another size), so the gate runs
two batch sizes on two window shapes.
"""

import copy
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from radfed.errors import GateError, RadfedError
from radfed.imaging.volume import Volume
from radfed.inference.checksums import file_digest
from radfed.inference.model import OnnxModel
from radfed.inference.segment import segment
from radfed.inference.sliding_window import Predictor
from radfed.release.cases import dicom_cases, made_up_dicom
from radfed.release.dicom_parity import DISTANCE_TOLERANCE_MM, DicomCase, DicomCheck, check_dicom
from radfed.release.export import needs_fixed_roi
from radfed.settings import Settings
from radfed.task import SegmentationTask, TaskSpec

if TYPE_CHECKING:
    import torch

LOGIT_TOLERANCE = 1e-4
DISAGREEMENT_TOLERANCE = 1e-4
# The file was traced with a batch of 2.
BATCHES = (1, 3)
_SEED = 20
# What torch raises from inside a network, whose code is not ours.
TORCH_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, AssertionError)


class WindowCheck(Settings):
    """Torch against ONNX Runtime on one batch of windows."""

    shape: tuple[int, ...] = Field(description="(B, C, H, W, D), or without D")
    content: str
    largest_difference: float = Field(description="Of logits, absolute")
    largest_logit: float
    disagreement: float = Field(description="Share of voxels whose class differs")


class CaseCheck(Settings):
    """Torch against ONNX Runtime from scan to mask, on the scanner's grid.

    It travels with the release, so it says nothing of the scan itself.
    """

    case: int
    disagreement: float = Field(description="Share of voxels whose label differs")
    labelled: bool = Field(description="Whether torch found any structure: two empty masks prove little")


class ParityReport(Settings):
    """Everything that the gate compared; it is only written when all of it passed."""

    passed: bool
    model_sha256: str
    weights_digest: str
    fixed_roi: bool
    logit_tolerance: float = LOGIT_TOLERANCE
    disagreement_tolerance: float = DISAGREEMENT_TOLERANCE
    distance_tolerance_mm: float = DISTANCE_TOLERANCE_MM
    provider: str
    windows: tuple[WindowCheck, ...]
    cases: tuple[CaseCheck, ...]
    dicom: tuple[DicomCheck, ...]


def read_exported(path: Path, task: TaskSpec) -> OnnxModel:
    """The exported file of a task.

    Raises:
        GateError: it cannot be used, or carries another contract.
    """
    try:
        model = OnnxModel.load(path)
    except RadfedError as error:
        raise GateError(f"parity: the exported file cannot be used: {error}") from error
    if model.task.digest != task.digest:
        raise GateError(f"parity: the file carries another contract ({model.task.digest[:12]}, not {task.digest[:12]})")
    return model


def on_cpu(network: "torch.nn.Module") -> "tuple[torch.nn.Module, torch.device]":
    """A copy of a network on the CPU, in the usual memory format, and that device."""
    import torch

    cpu = torch.device("cpu")
    return copy.deepcopy(network).to(device=cpu, memory_format=torch.contiguous_format), cpu  # type: ignore[call-overload]


def in_a_line(error: Exception) -> str:
    """What torch said, short enough for a message."""
    return " ".join([type(error).__name__, *str(error).split()])[:240]


def torch_predictor(network: "torch.nn.Module") -> Predictor:
    """A copy of a network, on the CPU, whose errors come out as ``GateError``."""
    from radfed.training.predictor import TorchPredictor

    quiet = TorchPredictor(*on_cpu(network))

    def predict(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return quiet(np.ascontiguousarray(windows))
        except TORCH_ERRORS as error:
            raise GateError(f"parity: torch failed on windows of shape {windows.shape}: {in_a_line(error)}") from error

    return predict


def check_parity(
    network: "torch.nn.Module", path: Path, task: SegmentationTask, cases: Sequence[Volume], dicom: Sequence[Path] = ()
) -> ParityReport:
    """Compare a network with its exported file.

    Args:
        network: the torch network.
        path: the ONNX file.
        task: the contract that the file must carry.
        cases: whole scans ``(C, H, W, D)`` to segment with both.
        dicom: folders of DICOM files to go through from the files to the SEG; none takes made-up ones.

    Returns:
        The report, when everything is within tolerance.

    Raises:
        GateError: a check failed; the message says which, what was got and what is allowed.
        InvalidInputError: a folder of DICOM files holds nothing that fits the task.
    """
    given = dicom_cases(dicom, task)
    if not cases:
        raise GateError("parity: got no case to segment; give at least one scan")
    model = read_exported(path, task)
    reference = torch_predictor(network)
    windows = tuple(_check_window(content, window, reference, model) for content, window in _windows(task, model))
    if model.fixed_roi != needs_fixed_roi(task):
        declared = "a fixed ROI" if model.fixed_roi else "free axes"
        wanted = "a fixed ROI" if needs_fixed_roi(task) else "free axes"
        raise GateError(f"parity: the file declares {declared}; {task.network.name} needs {wanted}")
    return ParityReport(
        passed=True,
        model_sha256=file_digest(path),
        weights_digest=model.weights_digest,
        fixed_roi=model.fixed_roi,
        provider=model.provider,
        windows=windows,
        cases=tuple(_check_case(number, case, task, reference, model) for number, case in enumerate(cases, start=1)),
        dicom=_check_dicom(given, task, reference, model),
    )


def _windows(task: SegmentationTask, model: OnnxModel) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Seeded batches: noise alone, and a body with bright blobs, at every batch size and window shape."""
    shapes = [task.window]
    if not model.fixed_roi:
        shapes.append(tuple(side + task.network.total_stride for side in task.window))
    rng = np.random.default_rng(_SEED)
    for shape, batch in product(shapes, BATCHES):
        noise = rng.standard_normal((batch, len(task.channels), *shape)).astype(np.float32)
        yield "noise", noise
        blobs = ndimage.gaussian_filter(noise, sigma=(0, 0, *(3 for _ in shape)), mode="wrap")
        body = np.where(blobs > 0, 1.5, -0.5) + 0.1 * noise
        yield "blobs", body.astype(np.float32)


def _check_window(content: str, window: NDArray[np.float32], reference: Predictor, model: OnnxModel) -> WindowCheck:
    where = f"windows of shape {window.shape} ({content})"
    expected = reference(window)
    try:
        got = model(window)
    except RadfedError as error:
        raise GateError(f"parity: ONNX Runtime cannot run {where}, torch can: {error}") from error
    if got.shape != expected.shape:
        raise GateError(f"parity: {where}: ONNX Runtime gave the shape {got.shape}, torch {expected.shape}")
    if not (np.isfinite(expected).all() and np.isfinite(got).all()):
        raise GateError(f"parity: {where}: logits are NaN or infinite; these weights cannot be released")
    difference = float(np.abs(expected - got).max())
    if difference > LOGIT_TOLERANCE:
        raise GateError(f"parity: {where}: logits differ by up to {difference:.3g}, allowed is {LOGIT_TOLERANCE:g}")
    disagreement = float(np.mean(expected.argmax(axis=1) != got.argmax(axis=1)))
    if disagreement > DISAGREEMENT_TOLERANCE:
        raise GateError(
            f"parity: {where}: the class differs in a share of {disagreement:.3g} of voxels, "
            f"allowed is {DISAGREEMENT_TOLERANCE:g}"
        )
    return WindowCheck(
        shape=window.shape,
        content=content,
        largest_difference=difference,
        largest_logit=float(np.abs(expected).max()),
        disagreement=disagreement,
    )


def _check_case(number: int, case: Volume, task: SegmentationTask, reference: Predictor, model: OnnxModel) -> CaseCheck:
    try:
        expected, got = segment(case, task, reference), segment(case, task, model)
    except GateError:
        raise
    except RadfedError as error:
        raise GateError(f"parity: case {number} cannot be segmented: {error}") from error
    disagreement = float(np.mean(expected != got))
    if disagreement > DISAGREEMENT_TOLERANCE:
        raise GateError(
            f"parity: case {number}: masks differ in a share of {disagreement:.3g} of voxels, "
            f"allowed is {DISAGREEMENT_TOLERANCE:g}"
        )
    return CaseCheck(case=number, disagreement=disagreement, labelled=bool(expected.any()))


def _check_dicom(
    given: tuple[DicomCase, ...], task: SegmentationTask, reference: Predictor, model: OnnxModel
) -> tuple[DicomCheck, ...]:
    with tempfile.TemporaryDirectory(prefix="radfed-parity-") as folder:
        cases = given or made_up_dicom(Path(folder), task)
        return tuple(
            check_dicom(number, case, task, reference, model, DISAGREEMENT_TOLERANCE)
            for number, case in enumerate(cases, start=1)
        )
