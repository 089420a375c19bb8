"""Against scikit-learn, and against outcomes drawn from known probabilities."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn import calibration as sk_calibration
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from radfed.metrics.calibration import (
    brier_of_classes,
    brier_scores,
    expected_calibration_error,
    recalibrate,
    reliability,
)

RANDOM = np.random.default_rng(11)
GIVEN = expit(RANDOM.normal(-0.5, 1.2, 500))
TRUTH = RANDOM.random(500) < GIVEN


def test_brier_is_that_of_scikit_learn() -> None:
    both = np.stack([1 - GIVEN, GIVEN], axis=1)
    expected = reference.brier_score_loss(TRUTH, GIVEN)
    assert brier_of_classes(np.stack([~TRUTH, TRUTH], axis=1), both).mean() == pytest.approx(expected, abs=1e-12)
    assert brier_scores(TRUTH[:, None], GIVEN[:, None]).mean() == pytest.approx(expected, abs=1e-12)


def test_brier_of_several_classes_is_0_when_right_and_1_when_wrong() -> None:
    truth = np.eye(3, dtype=bool)[[0, 1]]
    assert brier_of_classes(truth, np.array([[1.0, 0, 0], [0, 0, 1.0]])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("bins", [3, 10])
def test_bins_are_those_of_scikit_learn(bins: int) -> None:
    found = reliability(TRUTH, GIVEN, bins)
    observed, predicted = sk_calibration.calibration_curve(TRUTH, GIVEN, n_bins=bins, strategy="quantile")
    assert found is not None
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)
    assert found.cases.sum() == 500
    assert found.cases.max() - found.cases.min() <= 1
    assert expected_calibration_error(found) == pytest.approx(
        sum(n * abs(p - o) for n, p, o in zip(found.cases, predicted, observed, strict=True)) / 500
    )


def test_the_slope_is_that_of_a_logistic_regression() -> None:
    found = recalibrate(TRUTH, GIVEN)
    model = LogisticRegression(C=math.inf, tol=1e-10).fit(logit(GIVEN)[:, None], TRUTH)
    assert found is not None
    assert found.slope == pytest.approx(model.coef_[0, 0], abs=1e-5)
    # The intercept is the shift that makes the mean probability the share of positive cases.
    assert expit(logit(GIVEN) + found.intercept).mean() == pytest.approx(TRUTH.mean(), abs=1e-9)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0.0), (1.0, 0.7), (2.0, -0.3)])
def test_a_known_distortion_is_found(slope: float, intercept: float) -> None:
    random = np.random.default_rng(3)
    line = random.normal(0, 1, 40_000)
    truth = random.random(len(line)) < expit(slope * line + intercept)
    found = recalibrate(truth, expit(line))
    assert found is not None
    assert found.slope == pytest.approx(slope, abs=0.05)
    if slope == 1.0:
        assert found.intercept == pytest.approx(intercept, abs=0.05)


def test_certain_probabilities_are_finite() -> None:
    given = np.array([0.0, 0.0, 1.0, 1.0, 0.2, 0.8])
    found = recalibrate(np.array([False, True, True, True, False, False]), given)
    assert found is not None
    assert math.isfinite(found.slope)
    assert math.isfinite(found.intercept)


@pytest.mark.parametrize(
    ("truth", "given"),
    [
        ([1, 1, 1], [0.1, 0.5, 0.9]),
        ([0, 1, 0], [0.5, 0.5, 0.5]),
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1]),
        ([0, 1, 1], [0.1, math.nan, 0.4]),
        ([], []),
    ],
    ids=["one class", "equal", "separated", "separated the wrong way", "NaN", "none"],
)
def test_what_cannot_be_fitted_is_none(truth: list[int], given: list[float]) -> None:
    assert recalibrate(np.array(truth, dtype=bool), np.array(given, dtype=float)) is None


def test_equal_probabilities_are_one_bin() -> None:
    found = reliability(np.array([True, False, False, False]), np.full(4, 0.5))
    assert found is not None
    assert (found.predicted.tolist(), found.observed.tolist(), found.cases.tolist()) == ([0.5], [0.25], [4])
    assert reliability(np.array([], dtype=bool), np.array([])) is None
    assert reliability(np.array([True]), np.array([math.nan])) is None
