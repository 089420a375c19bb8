import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from threshold_model import contract, threshold_task, write_threshold_model  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError, RadfedError
from radfed.inference.model import FIXED_ROI_KEY, TASK_DIGEST_KEY, TASK_KEY, WEIGHTS_KEY, OnnxModel
from radfed.task import SegmentationTask


@pytest.fixture
def task() -> SegmentationTask:
    made: SegmentationTask = threshold_task()
    return made


def test_contract_and_header_are_read_from_the_file(tmp_path: Path, task: SegmentationTask) -> None:
    model = OnnxModel.load(write_threshold_model(tmp_path / "m.onnx", task), threads=1)
    assert model.task == task
    assert (model.version, model.weights_digest, model.fixed_roi) == ("0.1.0", "0" * 64, False)


def test_gives_logits_for_a_batch(tmp_path: Path, task: SegmentationTask) -> None:
    model = OnnxModel.load(write_threshold_model(tmp_path / "m.onnx", task), threads=1)
    windows = np.random.default_rng(0).random((3, 1, 16, 16, 16)).astype(np.float32)
    logits = model(windows)
    np.testing.assert_allclose(logits[:, 1, 1:], windows[:, 0, :-1] - 0.5, atol=1e-6)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-6)


def test_what_onnxruntime_refuses_is_our_error(tmp_path: Path, task: SegmentationTask) -> None:
    model = OnnxModel.load(write_threshold_model(tmp_path / "m.onnx", task))
    with pytest.raises(RadfedError, match=r"failed on windows of shape \(1, 2, 4, 4, 4\)"):
        model(np.zeros((1, 2, 4, 4, 4), dtype=np.float32))


@pytest.mark.parametrize("key", [TASK_KEY, TASK_DIGEST_KEY, FIXED_ROI_KEY, WEIGHTS_KEY])
def test_refuses_a_file_without_a_part_of_the_contract(tmp_path: Path, task: SegmentationTask, key: str) -> None:
    metadata = contract(task)
    del metadata[key]
    with pytest.raises(InvalidInputError, match=f"no task contract.*{key}"):
        OnnxModel.load(write_threshold_model(tmp_path / "m.onnx", task, metadata))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (TASK_KEY, "{", "not valid JSON"),
        (TASK_KEY, "[]", "must be a mapping, got list"),
        (TASK_KEY, '{"name": "x"}', "description: required"),
        (TASK_DIGEST_KEY, "0" * 64, "changed after export"),
        (FIXED_ROI_KEY, "true", "its input says otherwise"),
        (FIXED_ROI_KEY, "maybe", "must be true or false, got 'maybe'"),
    ],
)
def test_refuses_a_broken_contract(tmp_path: Path, task: SegmentationTask, key: str, value: str, says: str) -> None:
    path = write_threshold_model(tmp_path / "m.onnx", task, contract(task) | {key: value})
    with pytest.raises(InvalidInputError, match=says):
        OnnxModel.load(path)


def test_refuses_a_contract_that_was_edited(tmp_path: Path, task: SegmentationTask) -> None:
    edited = json.loads(contract(task)[TASK_KEY]) | {"limitations": "none at all"}
    path = write_threshold_model(tmp_path / "m.onnx", task, contract(task) | {TASK_KEY: json.dumps(edited)})
    with pytest.raises(InvalidInputError, match="changed after export"):
        OnnxModel.load(path)


def test_refuses_a_network_of_other_channels_than_its_contract(tmp_path: Path, task: SegmentationTask) -> None:
    path = write_threshold_model(tmp_path / "m.onnx", task, contract(threshold_task(channels=2)))
    with pytest.raises(InvalidInputError, match=r"must be float32 \(B, 2, H, W, D\)"):
        OnnxModel.load(path)


def test_refuses_other_input_names(tmp_path: Path, task: SegmentationTask) -> None:
    path = write_threshold_model(tmp_path / "m.onnx", task)
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "x"
    onnx.save(model, path)
    with pytest.raises(InvalidInputError, match="one input 'image'"):
        OnnxModel.load(path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x0a"])
def test_refuses_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"m\.onnx: "):
        OnnxModel.load(path)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is no file"):
        OnnxModel.load(tmp_path / "m.onnx")


def test_runs_where_torch_monai_and_nvflare_are_not_installed(tmp_path: Path, task: SegmentationTask) -> None:
    write_threshold_model(tmp_path / "m.onnx", task)
    script = (
        "import sys\n"
        "for name in ('torch', 'monai', 'nvflare'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from radfed.imaging.nifti import write_image\n"
        "from radfed.imaging.volume import Volume\n"
        "from radfed.inference.predict import predict\n"
        "here = Path(sys.argv[1])\n"
        "write_image(here / 'in.nii.gz', Volume(np.full((1, 20, 20, 20), 80, np.float32), np.eye(4)))\n"
        "found = predict(here / 'm.onnx', here / 'in.nii.gz', here / 'out', threads=1)\n"
        "assert found[0].reason is None and found[0].volumes_ml['bright'] > 7, found\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "in.nii.gz").is_file()
