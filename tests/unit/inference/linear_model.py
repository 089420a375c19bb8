"""Networks made by hand for tasks with one answer a case: weighted sums of what goes in."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from radfed.inference.header import COVARIATES, INPUT, OUTPUT, inputs_of
from radfed.inference.model import FIXED_ROI_KEY, TASK_DIGEST_KEY, TASK_KEY, VERSION_KEY, WEIGHTS_KEY
from radfed.task import OutcomeTask

PICTURE = {
    "channels": [{"name": "xray", "modality": "DX"}],
    "size": [8, 6],
    "intensity": {"rule": "window", "lower": 0, "upper": 100},
}
RECORD = [
    {"type": "numeric", "name": "crp", "unit": "mg/L", "lower": 0, "upper": 500, "mean": 50, "deviation": 25},
    {"type": "categorical", "name": "sex", "values": ["female", "male"], "required": True},
]
CLASSES: dict[str, object] = {"type": "multiclass", "classes": ["normal", "ill"]}
FINDINGS: dict[str, object] = {"type": "multilabel", "findings": ["effusion", "mass"]}


def outcome_task(image: bool = False, records: bool = False, outcome: dict[str, object] | None = None) -> OutcomeTask:
    """A task with a picture of 8 x 6 pixels, a record of two values, or both."""
    finds = outcome or CLASSES
    kinds = {(True, False): "classification", (False, True): "tabular", (True, True): "multimodal"}
    return OutcomeTask.check(
        {
            "name": "try",
            "kind": "survival" if finds["type"] == "survival" else kinds[image, records],
            "description": "Tries the software.",
            "intended_use": "Trying the software.",
            "image": PICTURE if image else None,
            "covariates": RECORD if records else [],
            "outcome": finds,
            "network": {"encoder": {"name": "ResNet"}} if image else {},
        },
        "test",
    )


def linear_weights(task: OutcomeTask) -> dict[str, NDArray[np.float32]]:
    """Of each input ``(numbers, outputs)``; no two numbers count alike."""
    random = np.random.default_rng(3)
    return {
        name: random.standard_normal((int(np.prod(shape)), task.outputs)).astype(np.float32)
        for name, shape in inputs_of(task).items()
    }


def write_linear_model(path: Path, task: OutcomeTask, declared: dict[str, list[object]] | None = None) -> Path:
    """The logits are the sum over the inputs of ``flatten(input) @ weights``.

    Args:
        path: the file.
        task: the contract.
        declared: shapes to declare instead of the contract's, by input or output.
    """
    shapes: dict[str, list[object]] = {name: ["batch", *shape] for name, shape in inputs_of(task).items()}
    shapes[OUTPUT] = ["batch", task.outputs]
    shapes |= declared or {}
    weights = {
        name: np.resize(value, (_numbers(shapes[name], len(value)), task.outputs))
        for name, value in linear_weights(task).items()
    }
    nodes = []
    for name in weights:
        nodes += [
            helper.make_node("Flatten", [name], [f"{name}_flat"]),
            helper.make_node("MatMul", [f"{name}_flat", f"{name}_weights"], [f"{name}_sum"]),
        ]
    nodes.append(helper.make_node("Sum", [f"{name}_sum" for name in weights], [OUTPUT]))
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)  # type: ignore[arg-type]
        for name, shape in shapes.items()
    }
    graph = helper.make_graph(
        nodes,
        "linear",
        [values[name] for name in (INPUT, COVARIATES) if name in values],
        [values[OUTPUT]],
        [numpy_helper.from_array(value, f"{name}_weights") for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    metadata = {
        TASK_KEY: json.dumps(task.model_dump(mode="json")),
        TASK_DIGEST_KEY: task.digest,
        VERSION_KEY: "0.1.0",
        FIXED_ROI_KEY: "true",
        WEIGHTS_KEY: "0" * 64,
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def _numbers(shape: list[object], otherwise: int) -> int:
    """How many numbers of a case a shape declares, if it says so."""
    sides = [side for side in shape[1:] if isinstance(side, int)]
    return math.prod(sides) if len(sides) == len(shape) - 1 else otherwise
