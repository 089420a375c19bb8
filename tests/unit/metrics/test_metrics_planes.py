"""Surfaces of masks of depth 1: contours in a plane."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from radfed.metrics.score import score
from radfed.metrics.surface import hd95, nsd, surface_distances

monai_metrics = pytest.importorskip("monai.metrics")
torch = pytest.importorskip("torch")

SHAPE = (41, 30)


def blob(seed: int, share: float = 0.3) -> NDArray[np.bool_]:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 3)
    return np.asarray(field > np.quantile(field, 1 - share))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_hd95_and_nsd_of_a_plane_equal_monai_in_two_dimensions(seed: int, axis: int) -> None:
    prediction, reference, spacing = blob(seed), blob(seed + 50, share=0.2), (0.7, 1.9)
    flat, other = np.expand_dims(prediction, axis), np.expand_dims(reference, axis)
    distances = surface_distances(flat, other, np.insert(spacing, axis, 5.0).tolist())
    assert distances is not None
    pair = [torch.as_tensor(mask[None, None]) for mask in (prediction, reference)]
    theirs = monai_metrics.compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    assert hd95(distances) == pytest.approx(float(theirs), rel=1e-6)
    assert hd95(distances) > 1, "so that it could be wrong"
    for tolerance in (0.0, 1.0, 3.0):
        theirs = monai_metrics.compute_surface_dice(
            *pair, class_thresholds=[tolerance], include_background=True, spacing=spacing
        )
        assert nsd(distances, tolerance) == pytest.approx(float(theirs), rel=1e-6)


def test_the_inside_of_a_mask_is_no_boundary_though_nothing_lies_above_and_below() -> None:
    rows, columns = np.ogrid[:64, :64]
    radius = np.hypot(rows - 32, columns - 32)
    small, large = (radius <= 16)[..., None], (radius <= 20)[..., None]
    found = score(small, large, (1.0, 1.0, 1.0), tolerance=1.0)
    assert found.hd95 == pytest.approx(4.0, abs=0.5)
    assert found.nsd == 0.0
    assert found.dice == pytest.approx(2 * small.sum() / (small.sum() + large.sum()))


def test_a_line_and_a_single_voxel_have_surfaces_too() -> None:
    line = np.zeros((9, 1, 1), dtype=bool)
    line[2:7] = True
    distances = surface_distances(line, np.roll(line, 1), (2.0, 1.0, 1.0))
    assert distances is not None
    np.testing.assert_array_equal(distances.to_reference, [2.0, 2.0])
    one = np.ones((1, 1, 1), dtype=bool)
    distances = surface_distances(one, one, (1.0, 1.0, 1.0))
    assert distances is not None
    assert (hd95(distances), nsd(distances, 0.0)) == (0.0, 1.0)
