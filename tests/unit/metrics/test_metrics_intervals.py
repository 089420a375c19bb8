import numpy as np
import pytest
from scipy import stats

from radfed.metrics.intervals import Bootstrap, mean_interval


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_one_case_a_patient_and_one_site_equals_scipy(method: str) -> None:
    values = np.random.default_rng(3).beta(8, 2, 24)
    how = Bootstrap(method=method, resamples=1500, seed=11)  # type: ignore[arg-type]
    ours = mean_interval(values, range(24), ["a"] * 24, how)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=1500, method=method, rng=np.random.default_rng(11)
    ).confidence_interval
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_two_sites_equal_scipy_with_two_samples() -> None:
    random = np.random.default_rng(5)
    first, second = random.beta(8, 2, 12), random.beta(5, 3, 7)

    def pooled(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        total: np.ndarray = (a.mean(axis=axis) * 12 + b.mean(axis=axis) * 7) / 19
        return total

    theirs = stats.bootstrap(
        (first, second), pooled, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = mean_interval(
        np.concatenate([first, second]), range(19), ["a"] * 12 + ["b"] * 7, Bootstrap(resamples=20_000, seed=2)
    )
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_drawing_patients_is_wider_than_drawing_their_scans() -> None:
    random = np.random.default_rng(1)
    values = np.repeat(random.normal(size=15), 4)
    of_patients = mean_interval(values, np.repeat(np.arange(15), 4).tolist(), ["a"] * 60)
    of_scans = mean_interval(values, range(60), ["a"] * 60)
    assert of_patients is not None
    assert of_scans is not None
    assert of_patients.high - of_patients.low > 1.5 * (of_scans.high - of_scans.low)


def test_a_difference_between_sites_does_not_widen_a_stratified_interval() -> None:
    random = np.random.default_rng(2)
    values = np.concatenate([random.normal(0.5, 0.01, 10), random.normal(0.9, 0.01, 10)])
    stratified = mean_interval(values, range(20), ["a"] * 10 + ["b"] * 10)
    together = mean_interval(values, range(20), ["a"] * 20)
    assert stratified is not None
    assert together is not None
    assert together.high - together.low > 5 * (stratified.high - stratified.low)


def test_the_same_seed_gives_the_same_interval_and_another_does_not() -> None:
    values = np.random.default_rng(4).normal(size=20)
    one, again, other = (mean_interval(values, range(20), ["a"] * 20, Bootstrap(seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_equal_patient_names_at_two_sites_are_two_patients() -> None:
    values = [0.1, 0.2, 0.3, 0.9, 0.8, 0.7]
    same = mean_interval(values, ["p", "q", "r", "p", "q", "r"], ["a"] * 3 + ["b"] * 3)
    different = mean_interval(values, range(6), ["a"] * 3 + ["b"] * 3)
    assert same == different


def test_one_patient_has_no_interval_and_equal_values_have_one_of_no_width() -> None:
    assert mean_interval([0.5, 0.6], ["p", "p"], ["a", "a"]) is None
    assert mean_interval([], [], []) is None
    found = mean_interval([0.1, 0.1, 0.1], ["p", "q", "r"], ["a"] * 3)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_values_that_are_no_numbers_and_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="values must be finite"):
        mean_interval([0.5, float("nan")], ["p", "q"], ["a", "a"])
    with pytest.raises(ValueError, match="equally long, got 1, 2, 1"):
        mean_interval([0.5], ["p", "q"], ["a"])
