"""Whether an ONNX file stands alone: no outside data, no foreign operators, no traces of a machine."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from radfed.errors import GateError
from radfed.inference.model import TASK_KEY

_DOMAINS = ("", "ai.onnx")
_NOTES = ("doc_string", "metadata_props")
_PATH = re.compile(r"(?:^|[\s\"'=:(])(?:/(?:data|home|mnt|opt|root|srv|tmp|usr|var|Users)/|[A-Za-z]:\\|\\\\\w)")


def check_self_contained(path: Path) -> None:
    """Read a model without following anything in it, and refuse what points outside.

    Raises:
        GateError: not ONNX; tensors kept in other files; operators that are not ONNX's own; notes or absolute paths.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise GateError(f"{path.name} cannot be read as ONNX ({type(error).__name__})") from error
    for message in _messages(model):
        if isinstance(message, onnx.TensorProto) and (
            message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
        ):
            raise GateError(f"tensor {message.name!r:.80} is kept in another file")
        if isinstance(message, onnx.NodeProto) and message.domain not in _DOMAINS:
            raise GateError(f"operator {message.op_type!r:.40} is of the domain {message.domain!r:.40}, not ONNX's own")
        notes = [field.name for field, _ in message.ListFields() if field.name in _NOTES]
        if notes and message is not model:
            raise GateError(f"a {type(message).__name__} carries notes of the exporter")
    for text in _strings(model):
        if _PATH.search(text):
            raise GateError(f"holds what looks like an absolute path: {text!r:.80}")


def _messages(message: Any) -> Iterator[Any]:  # noqa: ANN401 - protobuf has no types
    """A message and all messages inside it."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if hasattr(value, "add") else (value,):
                yield from _messages(part)


def _strings(model: onnx.ModelProto) -> Iterator[str]:
    """All text but the contract, whose prose is checked by its digest."""
    contract = [entry for entry in model.metadata_props if entry.key == TASK_KEY]
    for message in _messages(model):
        if any(message is entry for entry in contract):
            continue
        for field, value in message.ListFields():
            if field.type == field.TYPE_STRING:
                yield from ([value] if isinstance(value, str) else value)
            elif isinstance(message, onnx.AttributeProto) and field.name in ("s", "strings"):
                yield from (part.decode("latin-1") for part in ([value] if isinstance(value, bytes) else value))
