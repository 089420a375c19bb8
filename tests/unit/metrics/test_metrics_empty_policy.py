import numpy as np
import pytest

from radfed.metrics.policy import Outcome, outcome_of
from radfed.metrics.score import Score, score

EMPTY = np.zeros((5, 5, 5), dtype=bool)
BOX = EMPTY.copy()
BOX[1:4, 1:4, 1:4] = True


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (BOX, BOX, Score(Outcome.COMPARED, dice=1.0, hd95=0.0, nsd=1.0)),
        (EMPTY, EMPTY, Score(Outcome.BOTH_EMPTY, dice=1.0, hd95=0.0, nsd=1.0)),
        (BOX, EMPTY, Score(Outcome.FALSE_POSITIVE, dice=0.0, hd95=None, nsd=0.0)),
        (EMPTY, BOX, Score(Outcome.MISSED, dice=0.0, hd95=None, nsd=0.0)),
    ],
)
def test_each_row_of_the_policy(prediction: np.ndarray, reference: np.ndarray, expected: Score) -> None:
    assert score(prediction, reference, (1.0, 1.0, 1.0), 1.0) == expected
    assert outcome_of(bool(prediction.any()), bool(reference.any())) is expected.outcome


def test_only_correct_absence_is_left_out_of_overlap_means_and_only_comparisons_have_distances() -> None:
    assert [o for o in Outcome if not o.in_overlap_means] == [Outcome.BOTH_EMPTY]
    assert [o for o in Outcome if o.in_distance_means] == [Outcome.COMPARED]


def test_a_single_voxel_is_scored() -> None:
    one = EMPTY.copy()
    one[2, 2, 2] = True
    assert score(one, BOX, (1.0, 1.0, 1.0), 0.5).outcome is Outcome.COMPARED


def test_masks_on_two_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="must have one shape"):
        score(EMPTY, EMPTY[:4], (1.0, 1.0, 1.0), 1.0)
