"""Tasks of 2 dimensions: windows in planes, stacks as their planes, PNG and NIfTI in, masks on their grids out."""

from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from threshold_model import contract, write_threshold_model  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError
from radfed.imaging.nifti import write_image
from radfed.imaging.volume import Volume
from radfed.inference.model import OnnxModel
from radfed.inference.predict import predict
from radfed.inference.segment import segment
from radfed.inference.sliding_window import slide
from radfed.task import Channel, Label, Limits, Postprocessing, SegmentationTask, UNetArgs, UNetNetwork, Window

Array = NDArray[np.float32]


def planes_task(largest: bool = False) -> SegmentationTask:
    return SegmentationTask(
        name="bright_part",
        description="Finds what is bright.",
        intended_use="Trying the software.",
        channels=(Channel(name="c0"),),
        labels=(Label(value=3, name="bright"),),
        dimensions=2,
        orientation="LPS",
        spacing=(0.2, 0.2, 1.0),
        intensity=Window(lower=0.0, upper=100.0),
        roi_size=(16, 16, 1),
        network=UNetNetwork(args=UNetArgs(channels=(4, 8), strides=(2,))),
        postprocessing=Postprocessing(keep_largest_component=largest),
        limits=Limits(max_size_mm=(60, 60, 60)),
    )


def write_plane_model(path: Path, task: SegmentationTask) -> Path:
    """Label 3 where the pixel before, along the first axis of the window, is above 0.5."""
    kernel = np.zeros((2, 1, 3, 1), dtype=np.float32)
    kernel[0, 0, 0], kernel[1, 0, 0] = -1.0, 1.0
    node = helper.make_node("Conv", ["image", "kernel", "bias"], ["logits"], pads=[1, 0, 1, 0])
    graph = helper.make_graph(
        [node],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, "H", "W"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, "H", "W"])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array([0.5, -0.5], dtype=np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, contract(task))
    onnx.save(model, path)
    return path


def doubled(windows: Array) -> Array:
    return np.concatenate([windows * 2, -windows], axis=1)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 20)] * 3), overlap=st.sampled_from([0.0, 0.5, 0.75]), batch=st.integers(1, 9))
def test_blending_a_pointwise_network_changes_nothing(shape: tuple[int, int, int], overlap: float, batch: int) -> None:
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    blended = slide(image, doubled, (8, 6), overlap, batch)
    np.testing.assert_allclose(blended, doubled(image[None])[0], atol=1e-5)


def test_windows_in_planes_agree_with_monai_and_a_plane_does_not_see_another_one() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 2, 5, padding=2)
    image = np.random.default_rng(2).normal(size=(1, 24, 32, 3)).astype(np.float32)

    def run(windows: Array) -> Array:
        with torch.no_grad():
            logits: Array = network(torch.from_numpy(windows)).numpy()
        return logits

    ours = slide(image, run, (16, 16), 0.5)
    for index in range(3):
        theirs = sliding_window_inference(
            torch.from_numpy(image[None, ..., index]),
            (16, 16),
            4,
            lambda windows: torch.from_numpy(run(windows.numpy())),
            0.5,
            "gaussian",
        )
        np.testing.assert_allclose(ours[..., index], theirs[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(slide(image[..., index : index + 1], run, (16, 16), 0.5)[..., 0], ours[..., index])


@pytest.mark.parametrize("largest", [False, True])
def test_a_stack_is_segmented_as_each_of_its_planes_alone(tmp_path: Path, largest: bool) -> None:
    task = planes_task(largest)
    model = OnnxModel.load(write_plane_model(tmp_path / "m.onnx", task), threads=1)
    rng = np.random.default_rng(5)
    array = (rng.random((1, 4, 30, 21)) * 110).astype(np.float32)
    # Stored sagittally: the planes of the task are the first axis of the file.
    affine = np.array([[0, 0, 0.25, 0], [0, -0.3, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
    whole = segment(Volume(array, affine), task, model)
    assert whole.shape == (4, 30, 21)
    assert set(np.unique(whole)) == {0, 3}
    for index in range(4):
        alone = segment(Volume(array[:, index : index + 1], affine), task, model)
        np.testing.assert_array_equal(alone[0], whole[index])
    if largest:
        assert all(plane.any() for plane in whole), "each plane keeps a part of its own"


def test_pictures_and_nifti_files_of_one_and_of_many_planes_get_masks_on_their_own_grids(tmp_path: Path) -> None:
    model = write_plane_model(tmp_path / "m.onnx", planes_task())
    source = tmp_path / "in"
    source.mkdir()
    pixels = np.zeros((30, 40), dtype=np.uint8)
    pixels[5:9, 20:31] = 200
    Image.fromarray(pixels).save(source / "picture.png")
    upright = np.diag([-0.2, -0.2, 1.0, 1.0])
    plane = pixels.T[None, :, :, None].astype(np.float32)
    write_image(source / "plane.nii.gz", Volume(plane, upright))
    write_image(source / "stack.nii.gz", Volume(np.repeat(plane, 3, axis=3), upright))
    flipped = Volume(plane[:, ::-1], np.diag([0.2, -0.2, 1.0, 1.0]))
    write_image(source / "turned.nii.gz", flipped)
    results = {one.name: one for one in predict(model, source, tmp_path / "out", threads=1)}
    assert {name: one.reason for name, one in results.items()} == dict.fromkeys(results)
    expected = np.zeros((40, 30), dtype=np.uint8)
    expected[21:32, 5:9] = 3  # the model looks one column back
    masks = {name: nib.load(tmp_path / "out" / str(one.mask)) for name, one in results.items()}
    for name, depth in (("picture.png", 1), ("plane.nii.gz", 1), ("stack.nii.gz", 3)):
        np.testing.assert_array_equal(
            np.asarray(masks[name].dataobj), np.repeat(expected[..., None], depth, axis=2), err_msg=name
        )
        np.testing.assert_allclose(masks[name].affine, upright, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(masks["turned.nii.gz"].dataobj)[..., 0], expected[::-1])
    assert results["picture.png"].volumes_ml == {"bright": pytest.approx(11 * 4 * 0.2 * 0.2 / 1000, abs=1e-4)}


def test_a_png_is_no_input_of_a_task_of_volumes(tmp_path: Path) -> None:
    task = planes_task().model_copy(update={"dimensions": 3, "roi_size": (16, 16, 16)})
    model = write_threshold_model(tmp_path / "m.onnx", task)
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((30, 40), dtype=np.uint8)).save(tmp_path / "in" / "picture.png")
    with pytest.raises(InvalidInputError, match=r"holds no scan; give a \.nii or \.nii\.gz file"):
        predict(model, tmp_path / "in", tmp_path / "out", threads=1)


def test_a_network_of_volumes_with_a_contract_of_planes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"must be float32 \(B, 1, H, W\), as its contract says"):
        OnnxModel.load(write_threshold_model(tmp_path / "m.onnx", planes_task()))
