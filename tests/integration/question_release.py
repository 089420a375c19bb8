"""A release to ask about: a network without weights, sealed as a real one is."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from radfed.release.seal import seal
from radfed.task import SegmentationTask


def write_release(folder: Path, task: SegmentationTask) -> Path:
    """Each voxel is the class whose intensity, in steps of a half, it is nearest to."""
    folder.mkdir(parents=True)
    classes = task.outputs
    levels = numpy_helper.from_array(
        np.arange(classes, dtype=np.float32).reshape(1, classes, 1, 1, 1) / 2, "levels"
    )  # fmt: skip
    nodes = [
        helper.make_node("Sub", ["image", "levels"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("Neg", ["distance"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, "h", "w", "d"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes, "h", "w", "d"])
    graph = helper.make_graph(nodes, "nearest", [image], [logits], [levels])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    metadata = {
        "radfed.task": json.dumps(task.model_dump(mode="json")),
        "radfed.task_digest": task.digest,
        "radfed.version": "0.0.0",
        "radfed.fixed_roi": "false",
        "radfed.weights_digest": "0" * 64,
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, folder / "model.onnx")
    seal(folder)
    return folder
