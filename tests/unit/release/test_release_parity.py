import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from radfed.errors import GateError
from radfed.imaging.volume import Volume
from radfed.inference.model import FIXED_ROI_KEY
from radfed.release.conformance import synthetic_cases
from radfed.release.export import export_onnx
from radfed.release.parity import DISAGREEMENT_TOLERANCE, LOGIT_TOLERANCE, check_parity
from radfed.task import SegmentationTask
from radfed.training.networks import build_network

MakeTask = Callable[..., SegmentationTask]
Exported = tuple[torch.nn.Module, Path, SegmentationTask]

DYNAMIC: dict[str, dict[str, Any]] = {
    "UNet": {"channels": [4, 8, 16], "strides": [2, 2], "norm": "batch", "dropout": 0.2},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "DynUNet": {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "filters": [4, 8, 8]},
}


def export(folder: Path, task: SegmentationTask) -> Exported:
    network = build_network(task, 1)
    export_onnx(network, task, folder / "model.onnx", "a" * 64)
    return network, folder / "model.onnx", task


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory, make_task: MakeTask) -> Exported:
    return export(tmp_path_factory.mktemp("unet"), make_task())


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory, make_task: MakeTask) -> Exported:
    arguments = {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 4}
    task = make_task({"name": "SwinUNETR", "args": arguments}, roi=(64, 32, 32))
    return export(tmp_path_factory.mktemp("swin"), task)


@pytest.mark.parametrize("name", DYNAMIC)
def test_networks_with_free_axes_agree_at_two_batches_and_two_shapes(
    tmp_path: Path, make_task: MakeTask, name: str
) -> None:
    network, path, task = export(tmp_path, make_task({"name": name, "args": DYNAMIC[name]}))
    cases = synthetic_cases(task)
    report = check_parity(network, path, task, cases)
    larger = 16 + task.network.total_stride
    assert {check.shape for check in report.windows} == {
        (batch, 1, side, side, side) for batch in (1, 3) for side in (16, larger)
    }
    assert len(report.cases) == len(cases)
    assert all(check.largest_difference <= LOGIT_TOLERANCE < check.largest_logit for check in report.windows)
    assert all(check.disagreement <= DISAGREEMENT_TOLERANCE for check in report.windows)
    assert all(check.disagreement <= DISAGREEMENT_TOLERANCE for check in report.cases)
    assert not report.fixed_roi


def test_swinunetr_agrees_at_its_fixed_roi(swin: Exported) -> None:
    network, path, task = swin
    report = check_parity(network, path, task, synthetic_cases(task)[:1])
    assert report.fixed_roi
    assert {check.shape for check in report.windows} == {(1, 1, 64, 32, 32), (3, 1, 64, 32, 32)}


def test_a_file_that_only_looks_dynamic_is_refused(swin: Exported, tmp_path: Path) -> None:
    network, path, task = swin
    model = onnx.load(path)
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis, name in {2: "H", 3: "W", 4: "D"}.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    next(entry for entry in model.metadata_props if entry.key == FIXED_ROI_KEY).value = "false"
    onnx.save(model, tmp_path / "free.onnx")
    with pytest.raises(GateError, match=r"ONNX Runtime cannot run windows of shape \(1, 1, 96, 64, 64\)"):
        check_parity(network, tmp_path / "free.onnx", task, synthetic_cases(task)[:1])


def test_a_fixed_file_of_a_network_with_free_axes_is_refused(unet: Exported, tmp_path: Path) -> None:
    network, path, task = unet
    model = onnx.load(path)
    for value in (model.graph.input[0], model.graph.output[0]):
        for axis in (2, 3, 4):
            value.type.tensor_type.shape.dim[axis].dim_value = 16
    next(entry for entry in model.metadata_props if entry.key == FIXED_ROI_KEY).value = "true"
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(GateError, match="declares a fixed ROI; UNet needs free axes"):
        check_parity(network, tmp_path / "fixed.onnx", task, synthetic_cases(task))


def test_a_header_that_denies_its_own_metadata_is_refused(unet: Exported, tmp_path: Path) -> None:
    network, path, task = unet
    model = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == FIXED_ROI_KEY).value = "true"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(GateError, match="its input says otherwise"):
        check_parity(network, tmp_path / "m.onnx", task, synthetic_cases(task))


def test_perturbed_weights_are_caught(unet: Exported) -> None:
    network, path, task = unet
    other = copy.deepcopy(network)
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-2
    with pytest.raises(GateError, match=r"\(noise\): logits differ by up to .*, allowed is 0\.0001"):
        check_parity(other, path, task, synthetic_cases(task))


def test_near_ties_that_flip_the_class_are_caught(unet: Exported, tmp_path: Path) -> None:
    """Differences of logits below their tolerance can still change masks."""
    task = unet[2]

    class Tied(torch.nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logit = self.sign * torch.sign(image) * 2e-5
            return torch.cat([logit, -logit, -logit - 1], dim=1)

    export_onnx(Tied(1.0), task, tmp_path / "tied.onnx", "a" * 64)
    with pytest.raises(GateError, match="the class differs in a share of 1 of voxels"):
        check_parity(Tied(-1.0), tmp_path / "tied.onnx", task, synthetic_cases(task))


def test_an_error_inside_torch_is_a_refusal(unet: Exported) -> None:
    _, path, task = unet

    class Broken(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.view(7, -1)

    with pytest.raises(GateError, match=r"torch failed on windows of shape \(1, 1, 16, 16, 16\): RuntimeError"):
        check_parity(Broken(), path, task, synthetic_cases(task))


def test_weights_that_are_no_numbers_are_refused(unet: Exported) -> None:
    network, path, task = unet
    other = copy.deepcopy(network)
    with torch.no_grad():
        next(other.parameters()).fill_(float("nan"))
    with pytest.raises(GateError, match="NaN or infinite"):
        check_parity(other, path, task, synthetic_cases(task))


def test_another_contract_a_broken_file_and_no_case_are_refused(
    unet: Exported, tmp_path: Path, make_task: MakeTask
) -> None:
    network, path, task = unet
    with pytest.raises(GateError, match="another contract"):
        check_parity(network, path, task.model_copy(update={"overlap": 0.0}), synthetic_cases(task))
    (tmp_path / "m.onnx").write_bytes(path.read_bytes()[:-200])
    with pytest.raises(GateError, match="cannot be used"):
        check_parity(network, tmp_path / "m.onnx", task, synthetic_cases(task))
    with pytest.raises(GateError, match="got no case"):
        check_parity(network, path, task, ())


def test_a_case_that_does_not_fit_the_task_is_refused(unet: Exported) -> None:
    network, path, task = unet
    with pytest.raises(GateError, match="case 1 cannot be segmented"):
        check_parity(network, path, task, [Volume(np.zeros((2, 16, 16, 16), dtype=np.float32), np.eye(4))])
