"""Export, parity and vectors of tasks of 2 dimensions."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from radfed.imaging.nifti import read_image, read_label
from radfed.imaging.plausibility import check_geometry
from radfed.inference.model import OnnxModel
from radfed.inference.segment import segment
from radfed.release.conformance import CASES, VECTORS, synthetic_cases, write_vectors
from radfed.release.export import export_onnx
from radfed.release.metadata import network_data_format
from radfed.release.parity import LOGIT_TOLERANCE, check_parity
from radfed.task import SegmentationTask
from radfed.training.networks import build_network
from radfed.weights import load_weights

NETWORKS: dict[str, dict[str, Any]] = {
    "UNet": {"channels": [4, 8], "strides": [2], "norm": "batch"},
    "DynUNet": {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "filters": [4, 8, 8]},
    "SwinUNETR": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 4},
}


def planes_task(name: str = "UNet", deepest: float = 60.0) -> SegmentationTask:
    content = {
        "name": "two_parts",
        "description": "Finds two parts of a made-up body.",
        "intended_use": "Trying the software.",
        "channels": [{"name": "c0", "modality": "MR"}],
        "labels": [{"value": 1, "name": "left_part"}, {"value": 4, "name": "right_part"}],
        "dimensions": 2,
        "spacing": [1.0, 1.25, 1.5],
        "roi_size": [64, 32, 1] if name == "SwinUNETR" else [16, 24, 1],
        "network": {"name": name, "args": NETWORKS[name]},
        "limits": {"max_size_mm": [100, 100, deepest]},
    }
    return SegmentationTask.check(content, "test")


def export(folder: Path, task: SegmentationTask) -> tuple[torch.nn.Module, Path]:
    network = build_network(task, 1)
    export_onnx(network, task, folder / "model.onnx", "a" * 64)
    return network, folder / "model.onnx"


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    return export(tmp_path_factory.mktemp("unet"), planes_task())


@pytest.mark.parametrize("name", ["DynUNet", pytest.param("SwinUNETR", marks=pytest.mark.slow)])
def test_networks_of_planes_agree_with_their_files(tmp_path: Path, name: str) -> None:
    task = planes_task(name)
    network, path = export(tmp_path, task)
    declared = [dim.dim_param or dim.dim_value for dim in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    report = check_parity(network, path, task, synthetic_cases(task)[:1])
    if name == "SwinUNETR":
        assert declared == ["batch", 1, 64, 32]
        assert {check.shape for check in report.windows} == {(1, 1, 64, 32), (3, 1, 64, 32)}
    else:
        step = task.network.total_stride
        assert declared == ["batch", 1, "H", "W"]
        assert {check.shape for check in report.windows} == {
            (batch, 1, 16 + more, 24 + more) for batch in (1, 3) for more in (0, step)
        }
    assert all(check.largest_difference <= LOGIT_TOLERANCE < check.largest_logit for check in report.windows)
    assert report.cases[0].labelled
    assert all(case.labelled for case in report.dicom)


@pytest.mark.parametrize(("deepest", "planes"), [(60.0, {3}), (2.0, {1})])
def test_made_up_scans_have_as_many_planes_as_the_limits_allow(deepest: float, planes: set[int]) -> None:
    task = planes_task(deepest=deepest)
    cases = synthetic_cases(task)
    for case in cases:
        check_geometry(case, task.limits)
    assert {min(case.shape) for case in cases} == planes


def test_single_planes_pass_the_gate_from_dicom_to_seg_and_back(
    unet: tuple[torch.nn.Module, Path], tmp_path: Path
) -> None:
    task = planes_task(deepest=2.0)
    export_onnx(unet[0], task, tmp_path / "m.onnx", "a" * 64)
    report = check_parity(unet[0], tmp_path / "m.onnx", task, synthetic_cases(task))
    # One of the three lies in other planes than the network's.
    assert sorted(check.frames or 0 for check in report.dicom)[:2] == [1, 1]
    assert all(check.labelled for check in report.cases)
    assert all(check.labelled for check in report.dicom)


def test_vectors_hold_planes(unet: tuple[torch.nn.Module, Path], tmp_path: Path) -> None:
    model = OnnxModel.load(unet[1], threads=1)
    task = model.segmentation
    write_vectors(tmp_path / "vectors", model)
    vectors = load_weights(tmp_path / "vectors" / VECTORS)
    assert (vectors["window"].shape, vectors["logits"].shape) == ((1, 1, 16, 24), (1, 3, 16, 24))
    for name in CASES:
        mask = read_label(tmp_path / "vectors" / f"{name}.mask.nii.gz").array[0]
        assert (mask == segment(read_image(tmp_path / "vectors" / f"{name}.nii.gz"), task, model)).all()
    assert network_data_format(task)["inputs"]["image"]["spatial_shape"] == [16, 24]
