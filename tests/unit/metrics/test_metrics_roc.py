"""Against scikit-learn, against DeLong's components counted pair by pair, and coverage by simulation."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from radfed.metrics.intervals import Bootstrap, interval_of
from radfed.metrics.precision import average_precision, precision_curve, weighted_average_precision
from radfed.metrics.roc import auroc, auroc_interval, delong, delong_test, roc_curve, weighted_auroc

Cases = tuple[NDArray[np.bool_], NDArray[np.float64]]
UNDEFINED = {
    "positives only": ([1, 1, 1], [0.1, 0.2, 0.3]),
    "negatives only": ([0, 0, 0], [0.1, 0.2, 0.3]),
    "no case": ([], []),
    "a NaN": ([0, 1, 1], [0.1, math.nan, 0.3]),
    "an infinity": ([0, 1, 1], [0.1, math.inf, 0.3]),
}


def made_up(seed: int, count: int = 150, step: float = 0.05) -> Cases:
    """Scores in steps, so that there are ties within classes and between them."""
    random = np.random.default_rng(seed)
    truth = random.random(count) < 0.3
    truth[:2] = True, False
    return truth, np.round((random.normal(0, 1, count) + truth) / step) * step


def kernel(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1, 0 or a half for each pair of a positive and a negative case."""
    return np.array([[float(p > n) + 0.5 * float(p == n) for n in scores[~truth]] for p in scores[truth]])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("step", [1e-9, 0.2, 3.0])
def test_area_and_curves_are_those_of_scikit_learn(seed: int, step: float) -> None:
    truth, scores = made_up(seed, step=step)
    assert auroc(truth, scores) == pytest.approx(reference.roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(truth, scores) == pytest.approx(
        reference.average_precision_score(truth, scores), abs=1e-12
    )
    curve = roc_curve(truth, scores)
    assert curve is not None
    fpr, tpr, thresholds = reference.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.sensitivity, tpr, atol=1e-12)
    np.testing.assert_allclose(curve.thresholds, thresholds)
    precision, recall, _ = reference.precision_recall_curve(truth, scores)
    points = precision_curve(truth, scores)
    assert points is not None
    np.testing.assert_allclose(points.precision, precision[-2::-1][: len(points.precision)], atol=1e-12)
    np.testing.assert_allclose(points.recall, recall[-2::-1][: len(points.recall)], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_delong_is_the_variance_of_the_components_counted_pair_by_pair(seed: int) -> None:
    truth, scores = made_up(seed, step=0.5)
    found = delong(truth, scores)
    pairs = kernel(truth, scores)
    by_positive, by_negative = pairs.mean(axis=1), pairs.mean(axis=0)
    variance = by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)
    assert found is not None
    assert found.variance == pytest.approx(variance, abs=1e-10)
    assert found.value == pytest.approx(pairs.mean(), abs=1e-10)
    assert (found.positives, found.negatives) == pairs.shape


@pytest.mark.parametrize("seed", range(3))
def test_the_paired_test_is_that_of_the_components_counted_pair_by_pair(seed: int) -> None:
    truth, first = made_up(seed, step=0.5)
    second = np.round(first + np.random.default_rng(seed + 100).normal(0, 1, len(first)), 1)
    found = delong_test(truth, first, second)
    a, b = kernel(truth, first), kernel(truth, second)
    by_positive = np.cov(a.mean(axis=1), b.mean(axis=1)) / int(truth.sum())
    by_negative = np.cov(a.mean(axis=0), b.mean(axis=0)) / int((~truth).sum())
    contrast = np.array([1, -1])
    error = math.sqrt(contrast @ (by_positive + by_negative) @ contrast)
    assert found is not None
    assert found.interval is not None
    assert found.value == pytest.approx(a.mean() - b.mean(), abs=1e-10)
    assert found.interval.high - found.value == pytest.approx(1.959963984540054 * error, abs=1e-10)
    assert found.p == pytest.approx(math.erfc(abs(found.value) / error / math.sqrt(2)), abs=1e-10)


def test_delong_s_interval_holds_the_true_area_in_19_of_20_samples() -> None:
    random = np.random.default_rng(20240101)
    true_area = 0.5 * math.erfc(-1.0 / math.sqrt(2) / math.sqrt(2))  # normal scores, one deviation apart
    truth = np.arange(120) < 45
    rounds = 1000
    held = {"logit": 0, "plain": 0}
    for _ in range(rounds):
        found = delong(truth, random.normal(0, 1, len(truth)) + truth)
        assert found is not None
        for scale in ("logit", "plain"):
            interval = auroc_interval(found, scale="logit" if scale == "logit" else "plain")
            assert interval is not None
            held[scale] += interval.low <= true_area <= interval.high
    assert 0.93 <= held["logit"] / rounds <= 0.97
    assert 0.93 <= held["plain"] / rounds <= 0.97


def test_the_paired_test_refuses_one_in_twenty_equal_models() -> None:
    random = np.random.default_rng(5)
    truth = np.arange(120) < 45
    rounds, refused = 600, 0
    for _ in range(rounds):
        shared = random.normal(0, 1, len(truth)) + truth
        first, second = (shared + random.normal(0, 0.7, len(truth)) for _ in range(2))
        found = delong_test(truth, first, second)
        assert found is not None
        assert found.p is not None
        refused += found.p < 0.05
    assert 0.03 <= refused / rounds <= 0.07


@pytest.mark.parametrize("case", UNDEFINED)
def test_what_has_no_area_has_none(case: str) -> None:
    truth, scores = np.array(UNDEFINED[case][0], dtype=bool), np.array(UNDEFINED[case][1], dtype=float)
    assert auroc(truth, scores) is None
    assert delong(truth, scores) is None
    assert delong_test(truth, scores, scores) is None
    assert roc_curve(truth, scores) is None
    assert average_precision(truth, scores) is None
    assert precision_curve(truth, scores) is None


def test_equal_scores_are_chance_with_an_interval_that_says_so() -> None:
    truth = np.arange(20) < 8
    found = delong(truth, np.full(20, 0.3))
    assert found is not None
    assert (found.value, found.variance) == (0.5, 0.0)
    interval = auroc_interval(found)
    assert interval is not None
    assert 0.2 < interval.low < 0.3 < 0.7 < interval.high < 0.8
    same = delong_test(truth, np.full(20, 0.3), np.full(20, 0.6))
    assert same is not None
    assert (same.value, same.p) == (0.0, 1.0)


def test_a_perfect_small_sample_is_not_taken_for_certain() -> None:
    truth = np.arange(10) < 5
    found = delong(truth, truth.astype(float))
    assert found is not None
    interval = auroc_interval(found)
    assert interval is not None
    assert interval.high == 1.0
    # Newcombe 2006, method 5, solved for this sample: |A - 1| = z sqrt(V(A)).
    area, extra = interval.low, 4.0
    spread = area * (1 - area) * (1 + extra * (1 - area) / (2 - area) + extra * area / (1 + area)) / 25
    assert 1 - area == pytest.approx(1.959963984540054 * math.sqrt(spread), abs=1e-9)
    assert 0.5 < area < 0.75
    turned = delong(truth, -truth.astype(float))
    assert turned is not None
    other = auroc_interval(turned)
    assert other is not None
    assert (other.low, other.high) == pytest.approx((0.0, 1 - interval.low))


def test_one_case_of_a_class_gives_an_area_without_an_interval() -> None:
    found = delong(np.array([True, False, False]), np.array([0.4, 0.1, 0.6]))
    assert found is not None
    assert (found.value, found.variance) == (0.5, None)
    assert auroc_interval(found) is None


def test_scores_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equally long vectors, got \(2,\) and \(3,\)"):
        auroc(np.array([True, False]), np.zeros(3))


def test_a_weight_counts_as_so_many_equal_cases() -> None:
    truth, scores = made_up(3, count=40, step=0.5)
    weights = np.random.default_rng(1).integers(0, 4, (6, 40)).astype(float)
    for weighted, plain in ((weighted_auroc, auroc), (weighted_average_precision, average_precision)):
        values = weighted(truth, scores, weights)
        for row, value in zip(weights.astype(int), values, strict=True):
            repeated = plain(np.repeat(truth, row), np.repeat(scores, row))
            assert value == pytest.approx(repeated, abs=1e-12)
        assert np.isnan(weighted(truth, scores, truth[None].astype(float))).all()


def test_the_bootstrap_of_an_area_comes_close_to_delong_with_a_case_a_patient() -> None:
    truth, scores = made_up(4, count=300)
    found = delong(truth, scores)
    assert found is not None
    expected = auroc_interval(found)
    names = [f"p{index}" for index in range(300)]
    got = interval_of(lambda w: weighted_auroc(truth, scores, w), names, ["a"] * 300, Bootstrap(resamples=1000))
    assert got is not None
    assert expected is not None
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_repeated_cases_of_a_patient_do_not_narrow_the_bootstrap() -> None:
    truth, scores = made_up(4, count=100)
    names = [f"p{index}" for index in range(100)]
    how = Bootstrap(resamples=500)
    once = interval_of(lambda w: weighted_auroc(truth, scores, w), names, ["a"] * 100, how)
    many, high = np.repeat(truth, 4), np.repeat(scores, 4)
    again = interval_of(lambda w: weighted_auroc(many, high, w), list(np.repeat(names, 4)), ["a"] * 400, how)
    assert once is not None
    assert again == once
    naive = delong(many, high)
    assert naive is not None
    narrow = auroc_interval(naive)
    assert narrow is not None
    assert narrow.high - narrow.low < 0.6 * (once.high - once.low)


def test_no_interval_hangs_on_one_patient() -> None:
    truth = np.array([True, *[False] * 9])
    scores = np.linspace(0, 1, 10)
    names = [str(index) for index in range(10)]
    assert interval_of(lambda w: weighted_auroc(truth, scores, w), names, ["a"] * 10) is None
    assert interval_of(lambda w: weighted_auroc(truth, scores, w), ["p"] * 10, ["a"] * 10) is None


def test_every_order_of_three_scores_counts_its_pairs() -> None:
    truth = np.array([True, False, False])
    for scores in itertools.product([0.0, 1.0, 2.0], repeat=3):
        assert auroc(truth, np.array(scores)) == kernel(truth, np.array(scores)).mean()
