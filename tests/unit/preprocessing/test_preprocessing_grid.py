import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel import orientations
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.preprocessing.grid import Grid
from radfed.preprocessing.padding import margins_to, pad, unpad
from radfed.preprocessing.pipeline import prepare, prepare_label, preprocessing_digest
from radfed.task import SegmentationTask

ALL_ORIENTATIONS = [
    "".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)
]
orientation = st.sampled_from(ALL_ORIENTATIONS)
shapes = st.tuples(*[st.integers(2, 9)] * 3)
spacings = st.tuples(*[st.floats(0.4, 3.0)] * 3)


def task(
    spacing: tuple[float, float, float] = (1, 1, 1), orientation: str = "RAS", **changes: object
) -> SegmentationTask:
    content = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "channels": [{"name": "c"}],
        "labels": [{"value": 1, "name": "a"}, {"value": 4, "name": "b"}],
        "roi_size": [16, 16, 16],
        "network": {"name": "UNet"},
        "spacing": spacing,
        "orientation": orientation,
    }
    return SegmentationTask.check(content | changes, "test")


def affine_of(codes: str, spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """An affine whose array axes point along ``codes``, with spacing per array axis."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (code, size) in enumerate(zip(codes, spacing, strict=True)):
        world = next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        affine[world, axis] = size if code in "RAS" else -size
    return affine


@given(codes=orientation, wanted=st.sampled_from(["RAS", "LPS", "LAS", "RPS"]), shape=shapes, seed=st.integers(0, 99))
def test_without_resampling_the_way_back_is_exact(
    codes: str, wanted: str, shape: tuple[int, int, int], seed: int
) -> None:
    image = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    grid = Grid.of(shape, affine_of(codes, (1, 1, 1)), task(orientation=wanted))
    there = grid.image_to_task(image)
    np.testing.assert_array_equal(grid.scores_to_source(there), image)


@given(codes=orientation, spacing=spacings, shape=shapes)
def test_the_tasks_grid_sees_the_same_world_whatever_the_files_axes(
    codes: str, spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    """A case stored along other axes prepares to the same array as the same case stored as RAS."""
    along = dict(zip(("R", "A", "S"), spacing, strict=True))
    pair = {"L": "R", "P": "A", "I": "S"}
    per_axis = tuple(along[pair.get(code, code)] for code in codes)
    ras = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(tuple(codes)))
    stored = orientations.apply_orientation(ras[0], turn)[None]
    chosen = task(spacing=(1.1, 0.9, 1.3))
    from_ras, _ = prepare(ras, np.diag([*spacing, 1.0]), chosen)
    from_stored, _ = prepare(stored, affine_of(codes, per_axis), chosen)  # type: ignore[arg-type]
    np.testing.assert_allclose(from_stored, from_ras, atol=1e-5)


def test_left_is_left() -> None:
    """A bright voxel on the patient's left comes out at a low R index from an LPS file and from an RAS file."""
    ras = np.zeros((1, 8, 8, 8), dtype=np.float32)
    ras[0, 1, 4, 4] = 1  # x small: left in RAS
    lps = ras[:, ::-1, ::-1, :].copy()
    for image, codes in ((ras, "RAS"), (lps, "LPS")):
        prepared, _ = prepare(image, affine_of(codes, (1, 1, 1)), task())
        assert np.unravel_index(prepared[0].argmax(), (8, 8, 8)) == (1, 4, 4)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (2.0, 2.0, 2.0), (0.7, 1.3, 2.5)])
def test_resampling_keeps_world_coordinates(spacing: tuple[float, float, float]) -> None:
    """A linear ramp over the world is the same ramp on the task's grid: no half-voxel shift."""
    shape = (24, 24, 24)
    centres = [(np.arange(n) + 0.5) * s for n, s in zip(shape, spacing, strict=True)]
    ramp = np.sum(np.meshgrid(*centres, indexing="ij"), axis=0).astype(np.float32)
    chosen = task()
    grid = Grid.of(shape, np.diag([*spacing, 1.0]), chosen)
    there = grid.image_to_task(ramp[None])[0]
    expected = np.sum(np.meshgrid(*[np.arange(n) + 0.5 for n in grid.task_shape], indexing="ij"), axis=0)
    inner = (slice(3, -3),) * 3  # the smoothing and the repeated edge bend the ramp at the border
    np.testing.assert_allclose(there[inner], expected[inner], atol=1e-3)
    back = grid.scores_to_source(there[None])[0]
    margin = (slice(8, -8),) * 3
    np.testing.assert_allclose(back[margin], ramp[margin], atol=1e-3)


@given(shape=shapes, least=st.tuples(*[st.integers(1, 14)] * 3))
def test_padding_is_undone_exactly(shape: tuple[int, int, int], least: tuple[int, int, int]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    margins = margins_to(shape, least)
    padded = pad(array, margins)
    assert all(got >= wanted for got, wanted in zip(padded.shape[1:], least, strict=True))
    np.testing.assert_array_equal(unpad(padded, margins), array)


def test_labels_become_class_indices() -> None:
    label = np.zeros((3, 3, 3), dtype=np.int16)
    label[0, 0, 0], label[1, 1, 1] = 1, 4
    classes = prepare_label(label, np.eye(4), task())
    assert (classes[0, 0, 0], classes[1, 1, 1]) == (1, 2)
    label[2, 2, 2] = 3
    with pytest.raises(DataError, match=r"label values \[3\]") as refused:
        prepare_label(label, np.eye(4), task())
    assert refused.value.reason == "unknown_label"


@pytest.mark.parametrize("bad", [-1, 256, 300])
def test_labels_out_of_range_are_not_wrapped_round(bad: int) -> None:
    label = np.full((2, 2, 2), bad, dtype=np.int16)
    with pytest.raises(DataError):
        prepare_label(label, np.eye(4), task())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError) as channels:
        prepare(np.zeros((2, 4, 4, 4), dtype=np.float32), np.eye(4), task())
    assert channels.value.reason == "channel_mismatch"
    image = np.zeros((1, 4, 4, 4), dtype=np.float32)
    image[0, 0, 0, 0] = np.inf
    with pytest.raises(DataError) as infinite:
        prepare(image, np.eye(4), task())
    assert infinite.value.reason == "non_finite"


@pytest.mark.parametrize("rule", [{"rule": "zscore"}, {"rule": "zscore", "nonzero": True}, {"rule": "percentile"}])
@given(scale=st.floats(0.01, 1e4))
def test_export_scale_does_not_matter(rule: dict[str, object], scale: float) -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(1, 6, 6, 6)).astype(np.float32)
    chosen = task(intensity=rule)
    one, _ = prepare(image, np.eye(4), chosen)
    other, _ = prepare(image * np.float32(scale), np.eye(4), chosen)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_constant_image_stays_finite() -> None:
    prepared, _ = prepare(np.full((1, 4, 4, 4), 7, dtype=np.float32), np.eye(4), task())
    assert not prepared.any()


def test_window_maps_its_bounds_to_zero_and_one() -> None:
    image = np.array([-2000, -100, 0, 100, 3000], dtype=np.float32).reshape(1, 5, 1, 1)
    prepared, _ = prepare(image, np.eye(4), task(intensity={"rule": "window", "lower": -100, "upper": 100}))
    np.testing.assert_allclose(prepared.ravel(), [0, 0, 0.5, 1, 1])


def test_the_cache_key_follows_what_decides_the_arrays() -> None:
    assert preprocessing_digest(task()) == preprocessing_digest(task(description="other words"))
    assert preprocessing_digest(task()) != preprocessing_digest(task(spacing=(1, 1, 2)))
