import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radfed.dataset.checks import check_against_cohort, grid_distance, label_volumes, looks_like_label
from radfed.dataset.digests import volume_digest
from radfed.errors import DataError
from radfed.imaging.volume import Volume


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5))
def test_grid_distance_of_a_shift_is_its_length(x: float, y: float, z: float) -> None:
    moved = np.eye(4)
    moved[:3, 3] = (x, y, z)
    assert grid_distance(np.eye(4), moved, (5, 6, 7)) == pytest.approx(float(np.hypot(np.hypot(x, y), z)))


def test_grid_distance_of_a_rotation_grows_with_the_grid() -> None:
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.01), -np.sin(0.01)], [np.sin(0.01), np.cos(0.01)]]
    assert grid_distance(np.eye(4), turned, (101, 1, 1)) == pytest.approx(1.0, rel=1e-3)


def test_outlier_needs_a_cohort_and_every_axis() -> None:
    big = Volume(np.zeros((1, 50, 50, 50)), np.eye(4))
    check_against_cohort(big, [(10.0, 10.0, 10.0)] * 2)
    check_against_cohort(big, [(10.0, 10.0, 40.0)] * 5)
    with pytest.raises(DataError, match="another body part") as caught:
        check_against_cohort(big, [(10.0, 10.0, 10.0)] * 5)
    assert caught.value.reason == "implausible_size"


def test_what_looks_like_a_label() -> None:
    label = np.zeros((1, 6, 6, 6), np.float32)
    label[0, 2:4] = 2
    assert looks_like_label(label, None)
    assert looks_like_label(label, (1, 2))
    assert not looks_like_label(label, (1,))
    assert not looks_like_label(label + 1, None)
    assert not looks_like_label(label * 0.3, None)
    assert not looks_like_label(np.arange(216, dtype=np.float32).reshape(1, 6, 6, 6), None)
    assert not looks_like_label(np.where(label > 0, np.nan, label), None)


def test_label_volumes_are_in_mm3() -> None:
    label = np.zeros((1, 4, 4, 4), np.uint8)
    label[0, 0] = 3
    assert label_volumes(Volume(label, np.diag([-0.5, 2.0, 3.0, 1.0]))) == {3: 48.0}


def test_digest_sees_voxels_place_and_shape_only() -> None:
    array = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype(np.float32)
    base = volume_digest(Volume(array, np.eye(4)))
    assert volume_digest(Volume(np.asfortranarray(array.astype(np.float64)), np.eye(4) + 1e-9)) == base
    moved = np.eye(4)
    moved[0, 3] = 0.01
    changed = array.copy()
    changed[0, 0, 0, 0] += 1
    others = [
        Volume(array, moved),
        Volume(changed, np.eye(4)),
        Volume(array.reshape(1, 2, 8, 4), np.eye(4)),
        Volume(array.reshape(2, 2, 4, 4), np.eye(4)),
    ]
    assert len({base, *(volume_digest(volume) for volume in others)}) == 5
