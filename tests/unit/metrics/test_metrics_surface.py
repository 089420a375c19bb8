import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from radfed.metrics.surface import boundary, hd95, nsd, surface_distances

monai_metrics = pytest.importorskip("monai.metrics")
torch = pytest.importorskip("torch")

Spacing = tuple[float, float, float]
SPACINGS: list[Spacing] = [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (3.0, 0.5, 1.25)]


def blob(seed: int, shape: tuple[int, int, int], share: float = 0.3, smooth: float = 2.0) -> NDArray[np.bool_]:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)
    return np.asarray(field > np.quantile(field, 1 - share))


def sphere(shape: tuple[int, int, int], centre: Spacing, radius: float) -> NDArray[np.bool_]:
    axes = np.ogrid[tuple(slice(0, side) for side in shape)]
    return np.asarray(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_hd95_and_nsd_equal_monai_on_random_blobs(seed: int, spacing: Spacing) -> None:
    shape = (22, 17, 13)  # blobs reach the edge of the array here
    prediction, reference = blob(seed, shape), blob(seed + 100, shape, share=0.15)
    distances = surface_distances(prediction, reference, spacing)
    assert distances is not None
    pair = [torch.as_tensor(mask[None, None]) for mask in (prediction, reference)]
    theirs = monai_metrics.compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    assert hd95(distances) == pytest.approx(float(theirs), rel=1e-6)
    for tolerance in (0.0, 1.0, 1.4, 5.0):
        theirs = monai_metrics.compute_surface_dice(
            *pair, class_thresholds=[tolerance], include_background=True, spacing=spacing
        )
        assert nsd(distances, tolerance) == pytest.approx(float(theirs), rel=1e-6)


def test_boundary_equals_erosion_with_background_outside() -> None:
    for seed in range(5):
        mask = blob(seed, (9, 11, 7), share=0.5)
        np.testing.assert_array_equal(boundary(mask), mask ^ ndimage.binary_erosion(mask))


def test_a_shift_along_a_thick_axis_costs_that_axis_spacing() -> None:
    reference = np.zeros((8, 8, 8), dtype=bool)
    reference[2:5, 2:5, 2:5] = True
    distances = surface_distances(np.roll(reference, 1, axis=2), reference, (0.5, 0.5, 4.0))
    assert distances is not None
    assert hd95(distances) == 4.0
    assert nsd(distances, 4.0) == 1.0
    assert nsd(distances, 3.9) < 1.0


def test_a_distance_equal_to_the_tolerance_is_forgiven_in_spite_of_rounding() -> None:
    single = np.zeros((3, 3, 1), dtype=bool)
    a, b = single.copy(), single.copy()
    a[0, 0] = b[1, 1] = True
    distances = surface_distances(a, b, (0.1, 0.1 * 3**0.5, 1.0))
    assert distances is not None
    assert nsd(distances, 0.2) == 1.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5.0))
def test_metrics_are_symmetric_and_scale_with_the_voxel(seed: int, scale: float) -> None:
    a, b = blob(seed, (9, 8, 7)), blob(seed + 1, (9, 8, 7))
    one, other, larger = (
        surface_distances(a, b, (1.0, 2.0, 0.5)),
        surface_distances(b, a, (1.0, 2.0, 0.5)),
        surface_distances(a, b, (scale, 2.0 * scale, 0.5 * scale)),
    )
    assert one is not None
    assert other is not None
    assert larger is not None
    assert hd95(one) == hd95(other)
    assert nsd(one, 1.0) == nsd(other, 1.0)
    assert hd95(larger) == pytest.approx(scale * hd95(one), rel=1e-5)


def test_an_empty_mask_has_no_distances() -> None:
    mask = blob(0, (6, 6, 6))
    assert surface_distances(mask, np.zeros_like(mask), (1, 1, 1)) is None
    assert surface_distances(np.zeros_like(mask), mask, (1, 1, 1)) is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, float("nan"), 1.0)])
def test_a_spacing_that_makes_no_sense_is_refused(spacing: tuple[float, ...]) -> None:
    mask = blob(0, (6, 6, 6))
    with pytest.raises(ValueError, match="spacing must hold 3 positive values in mm"):
        surface_distances(mask, mask, spacing)


def test_a_negative_tolerance_is_refused() -> None:
    mask = blob(0, (6, 6, 6))
    distances = surface_distances(mask, mask, (1, 1, 1))
    assert distances is not None
    with pytest.raises(ValueError, match="tolerance must be at least 0 mm, got -1"):
        nsd(distances, -1)


def test_two_labels_of_a_small_case_take_little_time() -> None:
    shape = (40, 56, 40)
    pairs = [
        (sphere(shape, (20, 20, 20), 9), sphere(shape, (21, 20, 19), 9.5)),
        (sphere(shape, (20, 38, 20), 7), sphere(shape, (20, 37, 20), 8)),
    ]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for prediction, reference in pairs:
            assert surface_distances(prediction, reference, (1.0, 1.0, 1.0)) is not None
        seconds.append(time.perf_counter() - start)
    # 10 ms on an idle core; the bound is wide because test machines are shared.
    assert min(seconds) < 0.1
