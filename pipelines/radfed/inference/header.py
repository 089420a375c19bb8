"""What an ONNX file declares of its inputs and its output, held against its contract."""

from typing import Any

from radfed.errors import InvalidInputError
from radfed.task import OutcomeTask, SegmentationTask

INPUT, COVARIATES, OUTPUT = "image", "covariates", "logits"


def inputs_of(task: OutcomeTask) -> dict[str, tuple[int, ...]]:
    """Names and shapes (without the batch axis) of what an outcome task's network takes, in their order."""
    inputs: dict[str, tuple[int, ...]] = {}
    if task.image is not None:
        inputs[INPUT] = (len(task.image.channels), *task.image.size)
    if task.covariates:
        inputs[COVARIATES] = (task.width,)
    return inputs


def fixes_axes(name: str, session: Any, task: SegmentationTask | OutcomeTask) -> bool:  # noqa: ANN401 - no types
    """Whether the file is declared for one size of image only; refuse one that does not fit its contract at all.

    Args:
        name: of the file, for messages.
        session: ONNX Runtime's, which holds the file.
        task: the contract.

    Raises:
        InvalidInputError: other names, types or axes than the contract says.
    """
    match task:
        case SegmentationTask():
            return _segmentation(name, session, task)
        case OutcomeTask():
            _outcome(name, session, task)
            return True


def _segmentation(name: str, session: Any, task: SegmentationTask) -> bool:  # noqa: ANN401 - onnxruntime has no types
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != [INPUT] or [o.name for o in outputs] != [OUTPUT]:
        raise InvalidInputError(
            f"{name}: must have one input '{INPUT}' and one output '{OUTPUT}', got "
            f"{[i.name for i in inputs]} and {[o.name for o in outputs]}"
        )
    shape, kind = list(inputs[0].shape), inputs[0].type
    channels, axes = len(task.channels), ", ".join("HWD"[: task.dimensions])
    if kind != "tensor(float)" or len(shape) != 2 + task.dimensions or shape[1] != channels:
        raise InvalidInputError(
            f"{name}: the input must be float32 (B, {channels}, {axes}), as its contract says, got {kind} {shape}"
        )
    spatial = shape[2:]
    if spatial == list(task.window):
        return True
    if any(isinstance(side, int) for side in spatial):
        raise InvalidInputError(
            f"{name}: the input's axes must all be free or all be the ROI {task.window}, got {spatial}"
        )
    return False


def _outcome(name: str, session: Any, task: OutcomeTask) -> None:  # noqa: ANN401 - onnxruntime has no types
    wanted, output = inputs_of(task), {OUTPUT: (task.outputs,)}
    for what, values, shapes in (
        ("inputs", session.get_inputs(), wanted),
        ("outputs", session.get_outputs(), output),
    ):
        if [value.name for value in values] != list(shapes):
            raise InvalidInputError(
                f"{name}: must have the {what} {list(shapes)}, as its contract says, got {[v.name for v in values]}"
            )
        for value in values:
            batch, *rest = value.shape or [None]
            if value.type != "tensor(float)" or isinstance(batch, int) or tuple(rest) != shapes[value.name]:
                said = ", ".join(("B", *map(str, shapes[value.name])))
                raise InvalidInputError(
                    f"{name}: '{value.name}' must be float32 ({said}) with a free B, as its contract says, "
                    f"got {value.type} {value.shape}"
                )
