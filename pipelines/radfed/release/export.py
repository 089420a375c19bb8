"""ONNX export: a network to a file that carries its contract, and nothing of the machine that wrote it."""

import contextlib
import copy
import io
import json
import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from radfed import __version__
from radfed.errors import GateError
from radfed.inference.header import INPUT, OUTPUT, inputs_of
from radfed.inference.model import (
    FIXED_ROI_KEY,
    TASK_DIGEST_KEY,
    TASK_KEY,
    VERSION_KEY,
    WEIGHTS_KEY,
)
from radfed.task import OutcomeTask, SegmentationTask, SwinUNETRNetwork

if TYPE_CHECKING:
    import torch

OPSET = 20
_AXES = {2: "H", 3: "W", 4: "D"}
_CHATTY = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "torch._inductor", "onnxscript", "onnx_ir")


def needs_fixed_roi(task: SegmentationTask | OutcomeTask) -> bool:
    """Whether the task's network takes images of one size only: windows of ``roi_size``, or ``image.size``.

    The attention windows of SwinUNETR are laid out for one input size while tracing; an outcome task has one size.
    """
    return isinstance(task, OutcomeTask) or isinstance(task.network, SwinUNETRNetwork)


def export_onnx(
    network: "torch.nn.Module", task: SegmentationTask | OutcomeTask, path: Path, weights_digest: str
) -> None:
    """Write a network in evaluation mode as ONNX, opset 20, weights inside; equal networks give equal bytes.

    Of segmentation the input ``image`` is float32 ``(B, C, H, W, D)``, the output ``logits`` ``(B, K + 1, H, W, D)``,
    in 2 dimensions without D. B is free; the others are free multiples of the network's total stride, or for a
    SwinUNETR exactly ``task.roi_size``. Of an outcome task the inputs are ``image`` ``(B, C, *size)`` and
    ``covariates`` ``(B, width)``, as far as the task has them, and the output is ``logits`` ``(B, outputs)``.

    Args:
        network: the task's network; it is left as it is.
        task: the contract, embedded in the file's metadata.
        path: the file; written beside its place first.
        weights_digest: SHA-256 of the weights, embedded too.

    Raises:
        GateError: torch cannot export the network.
    """
    fixed = needs_fixed_roi(task)
    inputs = {INPUT: (len(task.channels), *task.window)} if isinstance(task, SegmentationTask) else inputs_of(task)
    free = {axis: name for axis, name in _AXES.items() if not fixed and axis < 1 + len(inputs[INPUT])}
    model = _trace(network, task.network.name, inputs, free)
    _strip(model)
    del model.graph.value_info[:]
    _declare_output(model, task)
    metadata = {
        TASK_KEY: json.dumps(task.model_dump(mode="json"), sort_keys=True, separators=(",", ":")),
        TASK_DIGEST_KEY: task.digest,
        VERSION_KEY: __version__,
        FIXED_ROI_KEY: "true" if fixed else "false",
        WEIGHTS_KEY: weights_digest,
    }
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])
    onnx.checker.check_model(model)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(model.SerializeToString(deterministic=True))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _trace(
    network: "torch.nn.Module", name: str, inputs: Mapping[str, tuple[int, ...]], free_axes: dict[int, str]
) -> onnx.ModelProto:
    import torch

    # A copy, so that the caller's mode, device and memory format stay.
    traced = copy.deepcopy(network).to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    # A batch of 1 would be taken for a constant.
    examples = tuple(torch.from_numpy(np.zeros((2, *shape), dtype=np.float32)) for shape in inputs.values())
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                traced,
                examples,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_shapes=tuple({0: "batch", **free_axes} for _ in examples),
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0:1]
        raise GateError(f"export: torch cannot export {name}: {' '.join(reason)[:300]}") from error
    if program is None:
        raise GateError(f"export: torch gave no program for {name}")
    model: onnx.ModelProto = program.model_proto
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporter prints, warns and logs; what matters comes as an exception."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _strip(message: Any) -> None:  # noqa: ANN401 - protobuf has no types
    """Clear all notes at every depth: they hold source lines and absolute paths of the exporting machine."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for part in value if hasattr(value, "add") else (value,):
                _strip(part)


def _declare_output(model: onnx.ModelProto, task: SegmentationTask | OutcomeTask) -> None:
    """Give the output the input's axes: torch writes formulae that hold for every size, the contract knows better."""
    given = model.graph.input[0].type.tensor_type.shape.dim
    declared = model.graph.output[0].type.tensor_type.shape.dim
    # Of an outcome task only the batch is shared.
    for index, target in enumerate(declared):
        if index == 1:
            target.Clear()
            target.dim_value = task.outputs
        else:
            target.CopyFrom(given[index])
