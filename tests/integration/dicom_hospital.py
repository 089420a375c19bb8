"""A small DICOM hospital, its task, and a network made by hand that finds what is bright."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from radfed.imaging.phantoms import SCANNERS
from radfed.imaging.phantoms_dicom import Style, write_dicom_cohort
from radfed.inference.model import FIXED_ROI_KEY, TASK_DIGEST_KEY, TASK_KEY, VERSION_KEY, WEIGHTS_KEY
from radfed.task import SegmentationTask

TASK = SegmentationTask.check(
    {
        "name": "bright_part",
        "description": "Finds what is bright.",
        "intended_use": "Trying the software.",
        "channels": [{"name": "mr", "modality": "MR"}],
        "labels": [
            {"value": 1, "name": "liver", "code": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}},
            {"value": 2, "name": "spleen", "code": {"scheme": "SCT", "value": "78961009", "meaning": "Spleen"}},
        ],
        "spacing": [1.5, 1.5, 1.5],
        "intensity": {"rule": "window", "lower": 0.0, "upper": 900.0},
        "roi_size": [32, 32, 32],
        "overlap": 0.0,
        "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2]}},
    },
    "test",
)


def write_hospital(folder: Path, studies: int) -> None:
    """Labelled studies, classic and compressed, with made-up names throughout."""
    write_dicom_cohort(folder, "north", SCANNERS["north"], studies, 3, style=Style(compression="rle"), bad=False)


BRIGHT = SegmentationTask.check(TASK.model_dump(mode="json") | {"labels": [{"value": 7, "name": "bright"}]}, "test")


def write_threshold(path: Path, task: SegmentationTask = BRIGHT, above: float = 0.6) -> Path:
    """The task's only label where the prepared voxel is above a value."""
    kernel = np.array([-1.0, 1.0], dtype=np.float32).reshape(2, 1, 1, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"])],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, "H", "W", "D"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, "H", "W", "D"])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([above, -above], dtype=np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    metadata = {
        TASK_KEY: json.dumps(task.model_dump(mode="json")),
        TASK_DIGEST_KEY: task.digest,
        VERSION_KEY: "0.1.0",
        FIXED_ROI_KEY: "false",
        WEIGHTS_KEY: "0" * 64,
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
