"""A released network under ONNX Runtime, which brings its own task contract."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from radfed.errors import InvalidInputError, RadfedError
from radfed.inference.header import COVARIATES, INPUT, OUTPUT, fixes_axes
from radfed.task import OutcomeTask, SegmentationTask, TaskSpec

TASK_KEY, TASK_DIGEST_KEY = "radfed.task", "radfed.task_digest"
VERSION_KEY, FIXED_ROI_KEY, WEIGHTS_KEY = "radfed.version", "radfed.fixed_roi", "radfed.weights_digest"
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
    """A network and its contract; of a segmentation task a ``Predictor``, of an outcome task it can ``answer``.

    Attributes:
        task: the contract in the file's metadata.
        version: of radfed, that wrote the file.
        weights_digest: SHA-256 of the weights, as in the run's ledger.
        fixed_roi: whether only images of one size can go in: windows of ``task.window``, or ``task.image.size``.
        provider: what computes, for example ``CPUExecutionProvider``.
        threads: CPU threads inside an operator; None for all cores.
    """

    task: SegmentationTask | OutcomeTask
    version: str
    weights_digest: str
    fixed_roi: bool
    provider: str
    threads: int | None
    _path: Path
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
        fixed = fixes_axes(path.name, session, task)
        if (metadata[FIXED_ROI_KEY] == "true") != fixed:
            raise InvalidInputError(
                f"{path.name}: {FIXED_ROI_KEY} is {metadata[FIXED_ROI_KEY]}, but its input says otherwise; "
                "export the model again"
            )
        return cls(
            task,
            metadata[VERSION_KEY],
            metadata[WEIGHTS_KEY],
            fixed,
            session.get_providers()[0],
            threads,
            path,
            session,
        )

    def for_many_callers(self) -> Self:
        """The same model, computing in the thread that calls it; it may be called from several at a time.

        For the CPU: small windows gain little from threads within an operator, and much from being computed side by
        side.
        """
        return replace(self, threads=1, _session=_session(self._path, 1))

    @property
    def segmentation(self) -> SegmentationTask:
        """The contract, where it is one of segmentation.

        Raises:
            InvalidInputError: it is of another kind.
        """
        if not isinstance(self.task, SegmentationTask):
            raise InvalidInputError(f"the model of {self.task.name} ({self.task.kind}) gives no masks")
        return self.task

    @property
    def outcome(self) -> OutcomeTask:
        """The contract, where it is one of an answer a case.

        Raises:
            InvalidInputError: it is one of segmentation.
        """
        if not isinstance(self.task, OutcomeTask):
            raise InvalidInputError(f"the model of {self.task.name} ({self.task.kind}) gives masks, no answers")
        return self.task

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits ``(B, K + 1, *window)`` of windows ``(B, C, *window)``, of a segmentation task.

        Raises:
            RadfedError: ONNX Runtime cannot compute them, or their shape is not the windows'.
        """
        outputs = self.segmentation.outputs
        return self._run({INPUT: windows}, (windows.shape[0], outputs, *windows.shape[2:]), "windows")

    def answer(
        self, image: NDArray[np.float32] | None = None, covariates: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Logits ``(B, outputs)`` of a batch of cases, of an outcome task.

        Args:
            image: prepared images ``(B, C, *size)``; None where the task has no image.
            covariates: encoded records ``(B, width)``; None where the task has none.

        Raises:
            RadfedError: not what the contract takes, or ONNX Runtime cannot compute them.
        """
        task = self.outcome
        given = {name: value for name, value in ((INPUT, image), (COVARIATES, covariates)) if value is not None}
        if not given:
            raise RadfedError(f"the model of {task.name} was given neither images nor records")
        batch = next(iter(given.values())).shape[0]
        return self._run(given, (batch, task.outputs), "cases")

    def _run(
        self, feeds: Mapping[str, NDArray[np.float32]], expected: tuple[int, ...], what: str
    ) -> NDArray[np.float32]:
        contiguous = {name: np.ascontiguousarray(value) for name, value in feeds.items()}
        try:
            logits: NDArray[np.float32] = self._session.run([OUTPUT], contiguous)[0]
        except _RUN_ERRORS as error:
            shapes = " and ".join(str(value.shape) for value in feeds.values())
            raise RadfedError(f"the model failed on {what} of shape {shapes}: {str(error)[:300]}") from error
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


def _contract(name: str, metadata: dict[str, str]) -> SegmentationTask | OutcomeTask:
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
    if not isinstance(task, SegmentationTask | OutcomeTask):
        raise InvalidInputError(f"{name}: {TASK_KEY}: tasks of the kind {task.kind} have no network to run")
    if task.digest != metadata[TASK_DIGEST_KEY]:
        raise InvalidInputError(
            f"{name}: the task contract was changed after export: its digest is {task.digest[:12]}, "
            f"{TASK_DIGEST_KEY} says {metadata[TASK_DIGEST_KEY][:12]}; get the model again from its source"
        )
    if metadata[FIXED_ROI_KEY] not in ("true", "false"):
        raise InvalidInputError(f"{name}: {FIXED_ROI_KEY} must be true or false, got {metadata[FIXED_ROI_KEY]!r:.40}")
    return task
