"""A network made by hand: label 3 where the voxel before, along the first axis of the window, is above 0.5."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from radfed.inference.model import (
    FIXED_ROI_KEY,
    TASK_DIGEST_KEY,
    TASK_KEY,
    VERSION_KEY,
    WEIGHTS_KEY,
)
from radfed.task import Channel, Label, Limits, SegmentationTask, UNetArgs, UNetNetwork, Window


def threshold_task(channels: int = 1) -> SegmentationTask:
    return SegmentationTask(
        name="bright_part",
        description="Finds what is bright.",
        intended_use="Trying the software.",
        channels=tuple(Channel(name=f"c{index}") for index in range(channels)),
        labels=(Label(value=3, name="bright"),),
        spacing=(1.0, 1.5, 2.0),
        intensity=Window(lower=0.0, upper=100.0),
        roi_size=(16, 16, 16),
        overlap=0.5,
        network=UNetNetwork(args=UNetArgs(channels=(4, 8), strides=(2,))),
        limits=Limits(min_size_mm=(10, 10, 10), max_size_mm=(60, 60, 60), min_spacing=0.5, max_spacing=4),
    )


def contract(task: SegmentationTask) -> dict[str, str]:
    return {
        TASK_KEY: json.dumps(task.model_dump(mode="json")),
        TASK_DIGEST_KEY: task.digest,
        VERSION_KEY: "0.1.0",
        FIXED_ROI_KEY: "false",
        WEIGHTS_KEY: "0" * 64,
    }


def write_threshold_model(path: Path, task: SegmentationTask, metadata: dict[str, str] | None = None) -> Path:
    """The kernel looks one voxel back along the first axis only, so a wrong axis or direction moves the mask."""
    channels = len(task.channels)
    kernel = np.zeros((2, channels, 3, 1, 1), dtype=np.float32)
    kernel[0, :, 0], kernel[1, :, 0] = -1.0 / channels, 1.0 / channels
    node = helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"], pads=[1, 0, 0, 1, 0, 0])
    graph = helper.make_graph(
        [node],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels, "H", "W", "D"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, "H", "W", "D"])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([0.5, -0.5], dtype=np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, contract(task) if metadata is None else metadata)
    onnx.save(model, path)
    return path
