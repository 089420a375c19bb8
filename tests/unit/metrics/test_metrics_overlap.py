import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radfed.metrics.overlap import dice, dice_per_label

masks = hnp.arrays(np.bool_, (3, 4, 2), elements=st.booleans())


@given(masks, masks)
def test_dice_is_symmetric_and_between_zero_and_one(a: np.ndarray, b: np.ndarray) -> None:
    assert dice(a, b) == dice(b, a)
    assert 0.0 <= dice(a, b) <= 1.0


@given(masks)
def test_a_mask_overlaps_itself_completely(mask: np.ndarray) -> None:
    assert dice(mask, mask) == 1.0


def test_dice_of_half_shifted_boxes_is_one_half() -> None:
    a, b = np.zeros((4, 4, 4), dtype=bool), np.zeros((4, 4, 4), dtype=bool)
    a[0:2] = True
    b[1:3] = True
    assert dice(a, b) == 0.5


def test_dice_per_label_looks_at_one_value_at_a_time() -> None:
    reference = np.array([[[0, 1, 1, 2, 2, 2]]], dtype=np.uint8)
    prediction = np.array([[[0, 1, 2, 2, 2, 2]]], dtype=np.uint8)
    assert dice_per_label(prediction, reference, (1, 2, 7)) == pytest.approx((2 / 3, 6 / 7, 1.0))


def test_masks_on_two_grids_are_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\) and \(2, 3\)"):
        dice(np.zeros((2, 2), dtype=bool), np.zeros((2, 3), dtype=bool))
