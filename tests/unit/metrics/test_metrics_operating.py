import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from radfed.metrics.operating import choose_threshold, confusion, wilson


@pytest.mark.parametrize("seed", range(8))
def test_youden_s_threshold_has_the_largest_sum_over_all_thresholds(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(60) < 0.4
    scores = np.round(random.normal(0, 1, 60) + truth, 1)
    threshold = choose_threshold(truth, scores, "youden")
    fpr, tpr, _ = reference.roc_curve(truth, scores)
    assert threshold is not None
    called = scores >= threshold
    assert called[truth].mean() - called[~truth].mean() == pytest.approx((tpr - fpr).max())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("least", [0.5, 0.9])
def test_a_least_share_is_met_with_as_much_of_the_other_as_there_is(seed: int, least: float) -> None:
    random = np.random.default_rng(seed)
    truth = np.arange(60) < 20  # 0.9 of 20 is a whole number of cases
    scores = np.round(random.normal(0, 1, 60) + truth, 1)
    fpr, tpr, _ = reference.roc_curve(truth, scores, drop_intermediate=False)
    by_sensitivity = choose_threshold(truth, scores, "sensitivity", least)
    by_specificity = choose_threshold(truth, scores, "specificity", least)
    assert by_sensitivity is not None
    assert by_specificity is not None
    called = scores >= by_sensitivity
    assert called[truth].mean() >= least - 1e-9
    assert called[~truth].mean() == pytest.approx(fpr[tpr >= least - 1e-9].min())
    called = scores >= by_specificity
    assert 1 - called[~truth].mean() >= least - 1e-9
    assert called[truth].mean() == pytest.approx(tpr[1 - fpr >= least - 1e-9].max())


def test_the_threshold_lies_between_the_cases() -> None:
    truth = np.array([False, False, True, True])
    assert choose_threshold(truth, np.array([0.1, 0.3, 0.7, 0.9]), "youden") == pytest.approx(0.5)


def test_a_threshold_that_none_reaches_calls_none() -> None:
    truth, scores = np.array([True, False]), np.array([0.2, 0.8])
    threshold = choose_threshold(truth, scores, "specificity", 0.99)
    assert threshold is not None
    assert not (scores >= threshold).any()


def test_neighbours_in_floating_point_are_still_told_apart() -> None:
    low = 0.7
    high = float(np.nextafter(low, 1))
    threshold = choose_threshold(np.array([False, True]), np.array([low, high]), "youden")
    assert threshold is not None
    assert low < threshold <= high


@pytest.mark.parametrize("scores", [[0.1, 0.2], [0.1, math.nan]])
def test_no_threshold_comes_of_one_class_or_nan(scores: list[float]) -> None:
    truth = np.array([True, not math.isnan(scores[1])])
    assert choose_threshold(truth, np.array(scores), "youden") is None


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 10), (3, 10), (10, 10), (997, 1000)])
def test_wilson_is_scipy_s(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    found = wilson(successes, trials)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_none_and_of_too_much_refused() -> None:
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="from 0 to the number of trials 3, got 4"):
        wilson(4, 3)


def test_counts() -> None:
    found = confusion(np.array([1, 1, 1, 0, 0, 0, 0], dtype=bool), np.array([1, 0, 0, 1, 0, 0, 0], dtype=bool))
    assert (found.true_positives, found.false_negatives) == (1, 2)
    assert (found.false_positives, found.true_negatives) == (1, 3)
    with pytest.raises(ValueError, match="equally long"):
        confusion(np.zeros(2, dtype=bool), np.zeros(3, dtype=bool))
