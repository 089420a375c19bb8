"""Preparing volumes for tasks that see planes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radfed.preprocessing.grid import Grid
from radfed.preprocessing.pipeline import prepare, prepare_label
from radfed.task import SegmentationTask

CODES = ("RAS", "LPS", "SAL", "AIR")


def task(intensity: dict[str, object] | None = None) -> SegmentationTask:
    content = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "channels": [{"name": "c"}],
        "labels": [{"value": 4, "name": "a"}],
        "dimensions": 2,
        "orientation": "LPS",
        "spacing": (1.5, 0.8, 99.0),
        "intensity": intensity or {"rule": "zscore"},
        "roi_size": [16, 16, 1],
        "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2]}},
    }
    return SegmentationTask.check(content, "test")


def affine_of(codes: str, spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """An affine whose array axes point along ``codes``, with spacing per array axis."""
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    for axis, (code, size) in enumerate(zip(codes, spacing, strict=True)):
        world = next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        affine[world, axis] = size if code in "RAS" else -size
    return affine


@settings(deadline=None)
@given(
    codes=st.sampled_from(CODES),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 3.0)] * 3),
)
def test_planes_keep_their_distance_and_their_number(
    codes: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    affine = affine_of(codes, spacing)
    grid = Grid.of(shape, affine, task())
    assert grid.last_axis == next(axis for axis, code in enumerate(codes) if code in "SI")
    assert grid.task_shape[2] == shape[grid.last_axis]
    assert list(grid.task_spacing) == pytest.approx([1.5, 0.8, spacing[grid.last_axis]])
    label = (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8) * 4
    assert prepare_label(label, affine, task()).shape == grid.task_shape


def test_nothing_of_one_plane_gets_into_another_one_there_and_back() -> None:
    """Only the second of three planes is bright; resampled in its plane, it alone has scores on the scanner's grid."""
    affine = affine_of("SAL", (1.0, 1.0, 5.0))
    image = np.zeros((1, 3, 12, 10), dtype=np.float32)
    image[:, 1] = 7
    grid = Grid.of((3, 12, 10), affine, task())
    there = grid.image_to_task(image)
    assert grid.task_shape != grid.oriented_shape
    assert there.any(axis=(0, 1, 2)).tolist() == [False, True, False]
    np.testing.assert_allclose(grid.scores_to_source(there), image, atol=1e-5)


@pytest.mark.parametrize(
    "intensity", [{"rule": "zscore"}, {"rule": "percentile"}, {"rule": "window", "lower": -1, "upper": 1}]
)
def test_a_stack_is_prepared_as_each_of_its_planes_alone(intensity: dict[str, object]) -> None:
    rng = np.random.default_rng(3)
    image = (rng.normal(size=(1, 9, 11, 4)) * [1, 20, 300, 0]).astype(np.float32)
    affine = affine_of("RAS", (1.2, 0.9, 6.0))
    whole, _ = prepare(image, affine, task(intensity))
    for index in range(4):
        alone, _ = prepare(image[..., index : index + 1], affine, task(intensity))
        np.testing.assert_array_equal(alone[..., 0], whole[..., index])
