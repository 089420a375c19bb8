import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from radfed.errors import GateError
from radfed.inference.model import OnnxModel
from radfed.release.export import OPSET, export_onnx
from radfed.release.onnx_audit import check_self_contained
from radfed.task import SegmentationTask
from radfed.training.networks import build_network

MakeTask = Callable[..., SegmentationTask]


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, make_task: MakeTask) -> Path:
    task = make_task(channels=2)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(build_network(task, 1), task, path, "a" * 64)
    return path


def test_file_declares_free_batch_and_space_and_carries_the_contract(exported: Path, make_task: MakeTask) -> None:
    model = onnx.load(exported)
    assert dims(model.graph.input[0]) == ["batch", 2, "H", "W", "D"]
    assert dims(model.graph.output[0]) == ["batch", 3, "H", "W", "D"]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    loaded = OnnxModel.load(exported)
    assert loaded.task == make_task(channels=2)
    assert (loaded.fixed_roi, loaded.weights_digest) == (False, "a" * 64)


def test_file_tells_nothing_of_the_machine(exported: Path) -> None:
    content = exported.read_bytes()
    for trace in (b"site-packages", b".py", b"stack_trace", b"pkg.torch", b'File "', b"/home/", b"/root/", b"/tmp/"):
        assert trace not in content
    check_self_contained(exported)


def test_equal_networks_give_equal_bytes_and_the_network_stays_as_it_was(
    exported: Path, tmp_path: Path, make_task: MakeTask, capfd: pytest.CaptureFixture[str]
) -> None:
    task = make_task(channels=2)
    network = build_network(task, 1).train()
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    export_onnx(network, task, tmp_path / "again.onnx", "a" * 64)
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()
    assert network.training
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]
    assert capfd.readouterr() == ("", "")


def test_a_network_that_torch_cannot_export_is_refused_and_leaves_no_file(tmp_path: Path, make_task: MakeTask) -> None:
    class Moody(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image if float(image.mean()) > 0.5 else -image

    with pytest.raises(GateError, match="export: torch cannot export UNet: "):
        export_onnx(Moody(), make_task(), tmp_path / "model.onnx", "a" * 64)
    assert list(tmp_path.iterdir()) == []


def test_other_weights_give_another_file(exported: Path, tmp_path: Path, make_task: MakeTask) -> None:
    task = make_task(channels=2)
    export_onnx(build_network(task, 2), task, tmp_path / "other.onnx", "a" * 64)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (exported, tmp_path / "other.onnx")]
    assert digests[0] != digests[1]
