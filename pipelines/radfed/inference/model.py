"""A released network under ONNX Runtime, which brings its own task contract."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from radfed.errors import InvalidInputError, RadfedError
from radfed.task import TaskSpec

TASK_KEY, TASK_DIGEST_KEY = "radfed.task", "radfed.task_digest"
VERSION_KEY, FIXED_ROI_KEY, WEIGHTS_KEY = "radfed.version", "radfed.fixed_roi", "radfed.weights_digest"
INPUT, OUTPUT = "image", "logits"

_QUIET = 3  # errors only
_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_RUN_ERRORS = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.EPFail, ort_errors.RuntimeException, ValueError)


@dataclass(frozen=True)
class OnnxModel:
    """A network and its contract; a ``Predictor``.

    Attributes:
        task: the contract in the file's metadata.
        version: of radfed, that wrote the file.
        weights_digest: SHA-256 of the weights, as in the run's ledger.
        fixed_roi: whether only windows of ``task.roi_size`` can go in.
        provider: what computes, for example ``CPUExecutionProvider``.
    """

    task: TaskSpec
    version: str
    weights_digest: str
    fixed_roi: bool
    provider: str
    _session: Any

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> Self:
        """Open a model file; CUDA computes where ONNX Runtime has it, else the CPU.

        Args:
            path: an ``.onnx`` file that radfed wrote.
            threads: CPU threads inside an operator; None lets ONNX Runtime take all cores.

        Raises:
            InvalidInputError: no ONNX file, no valid contract in it, or a network that does not fit its contract.
        """
        session = _session(path, threads)
        metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
        task = _contract(path.name, metadata)
        fixed = _check_header(path.name, session, task)
        if (metadata[FIXED_ROI_KEY] == "true") != fixed:
            raise InvalidInputError(
                f"{path.name}: {FIXED_ROI_KEY} is {metadata[FIXED_ROI_KEY]}, but its input says otherwise; "
                "export the model again"
            )
        return cls(task, metadata[VERSION_KEY], metadata[WEIGHTS_KEY], fixed, session.get_providers()[0], session)

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits ``(B, K + 1, H, W, D)`` of windows ``(B, C, H, W, D)``.

        Raises:
            RadfedError: ONNX Runtime cannot compute them, or their shape is not the windows'.
        """
        try:
            logits: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(windows)})[0]
        except _RUN_ERRORS as error:
            raise RadfedError(f"the model failed on windows of shape {windows.shape}: {str(error)[:300]}") from error
        expected = (windows.shape[0], len(self.task.labels) + 1, *windows.shape[2:])
        if logits.shape != expected:
            raise RadfedError(f"the model gave logits of shape {logits.shape} instead of {expected}")
        return logits


def _session(path: Path, threads: int | None) -> Any:  # noqa: ANN401 - onnxruntime has no types
    if not path.is_file():
        raise InvalidInputError(f"{path}: is no file; give a release's folder or an .onnx file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # TF32 rounds to ten bits of mantissa: masks would differ from the CPU's beyond the parity gate.
    wanted: list[Any] = [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    there = set(onnxruntime.get_available_providers())
    providers = [p for p in wanted if (p if isinstance(p, str) else p[0]) in there]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except _LOAD_ERRORS as error:
        raise InvalidInputError(f"{path.name}: is no usable ONNX model: {str(error)[:300]}") from error


def _contract(name: str, metadata: dict[str, str]) -> TaskSpec:
    keys = (TASK_KEY, TASK_DIGEST_KEY, VERSION_KEY, FIXED_ROI_KEY, WEIGHTS_KEY)
    missing = [key for key in keys if key not in metadata]
    if missing:
        raise InvalidInputError(
            f"{name}: carries no task contract (missing in its metadata: {', '.join(missing)}); "
            "give a model that 'radfed release build' wrote"
        )
    try:
        content = json.loads(metadata[TASK_KEY])
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(f"{name}: {TASK_KEY} is not valid JSON; get the model again from its source") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"{name}: {TASK_KEY} must be a mapping, got {type(content).__name__}")
    task = TaskSpec.check(content, f"{name}: {TASK_KEY}")
    if task.digest != metadata[TASK_DIGEST_KEY]:
        raise InvalidInputError(
            f"{name}: the task contract was changed after export: its digest is {task.digest[:12]}, "
            f"{TASK_DIGEST_KEY} says {metadata[TASK_DIGEST_KEY][:12]}; get the model again from its source"
        )
    if metadata[FIXED_ROI_KEY] not in ("true", "false"):
        raise InvalidInputError(f"{name}: {FIXED_ROI_KEY} must be true or false, got {metadata[FIXED_ROI_KEY]!r:.40}")
    return task


def _check_header(name: str, session: Any, task: TaskSpec) -> bool:  # noqa: ANN401 - onnxruntime has no types
    """Whether the input is declared with the contract's ROI; refuse one that does not fit the contract at all."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != [INPUT] or [o.name for o in outputs] != [OUTPUT]:
        raise InvalidInputError(
            f"{name}: must have one input '{INPUT}' and one output '{OUTPUT}', got "
            f"{[i.name for i in inputs]} and {[o.name for o in outputs]}"
        )
    shape, kind = list(inputs[0].shape), inputs[0].type
    channels = len(task.channels)
    if kind != "tensor(float)" or len(shape) != 5 or shape[1] != channels:
        raise InvalidInputError(
            f"{name}: the input must be float32 (B, {channels}, H, W, D), as its contract says, got {kind} {shape}"
        )
    spatial = shape[2:]
    if spatial == list(task.roi_size):
        return True
    if any(isinstance(side, int) for side in spatial):
        raise InvalidInputError(
            f"{name}: the input's axes must all be free or all be the ROI {task.roi_size}, got {spatial}"
        )
    return False
