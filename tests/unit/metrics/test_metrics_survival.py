"""Concordance against pairs counted one by one, with ties and censoring."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.metrics.intervals import Bootstrap, interval_of
from radfed.metrics.survival import concordance, kaplan_meier, weighted_concordance

Floats = NDArray[np.float64]


def count(times: Floats, events: NDArray[np.bool_], hazards: Floats) -> tuple[int, int, int]:
    """Concordant, discordant and tied pairs, each unordered pair looked at once."""
    right = wrong = tied = 0
    for i in range(len(times)):
        for j in range(i + 1, len(times)):
            first, second = (i, j) if (times[i], not events[i]) <= (times[j], not events[j]) else (j, i)
            if not events[first] or (times[first] == times[second] and events[second]):
                continue
            right += hazards[first] > hazards[second]
            wrong += hazards[first] < hazards[second]
            tied += hazards[first] == hazards[second]
    return right, wrong, tied


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_those_counted_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    times, hazards = random.integers(1, 12, 45).astype(float), np.round(random.normal(0, 1, 45), 1)
    events = random.random(45) < 0.6
    found = concordance(times, events, hazards)
    right, wrong, tied = count(times, events, hazards)
    assert found is not None
    assert (found.concordant, found.discordant, found.tied) == (right, wrong, tied)
    assert found.comparable == right + wrong + tied
    assert found.value == pytest.approx((right + tied / 2) / (right + wrong + tied))


def test_more_cases_than_a_block_are_all_counted() -> None:
    times = np.arange(1200.0)
    found = concordance(times, np.ones(1200, dtype=bool), -times)
    assert found is not None
    assert (found.value, found.concordant) == (1.0, 1200 * 1199 // 2)


@pytest.mark.parametrize(
    ("times", "events", "hazards", "expected"),
    [
        ([1, 2, 3], [1, 1, 1], [3, 2, 1], 1.0),
        ([1, 2, 3], [1, 1, 1], [1, 2, 3], 0.0),
        ([1, 2, 3], [1, 1, 1], [5, 5, 5], 0.5),
        ([1, 2], [0, 1], [9, 1], None),  # the first was lost before the second's event
        ([2, 2], [1, 1], [9, 1], None),  # both at once
        ([2, 2], [1, 0], [9, 1], 1.0),  # censored at that time means later
        ([1, 2], [0, 0], [9, 1], None),
        ([1, 2], [1, 1], [math.nan, 1], None),
        ([], [], [], None),
    ],
)
def test_hand_made_cases(times: list[float], events: list[int], hazards: list[float], expected: float | None) -> None:
    found = concordance(np.array(times, dtype=float), np.array(events, dtype=bool), np.array(hazards, dtype=float))
    assert (found.value if found else None) == expected


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long vectors"):
        concordance(np.zeros(2), np.zeros(3, dtype=bool), np.zeros(2))


def test_a_weight_counts_as_so_many_equal_patients() -> None:
    random = np.random.default_rng(2)
    times, hazards = random.integers(1, 9, 20).astype(float), random.integers(0, 5, 20).astype(float)
    events = random.random(20) < 0.6
    weights = random.integers(0, 3, (5, 20))
    values = weighted_concordance(times, events, hazards, weights.astype(float))
    for row, value in zip(weights, values, strict=True):
        repeated = concordance(np.repeat(times, row), np.repeat(events, row), np.repeat(hazards, row))
        assert repeated is not None
        assert value == pytest.approx(repeated.value, abs=1e-12)
    assert np.isnan(weighted_concordance(times, events & False, hazards, np.ones((1, 20)))).all()


def test_the_bootstrap_by_patient_holds_the_value() -> None:
    random = np.random.default_rng(7)
    hazards = random.normal(0, 1, 120)
    times = random.exponential(np.exp(-hazards))
    limit = random.exponential(2.0, 120)
    seen, events = np.minimum(times, limit), times <= limit
    found = concordance(seen, events, hazards)
    interval = interval_of(
        lambda w: weighted_concordance(seen, events, hazards, w),
        [str(index) for index in range(120)],
        ["a", "b", "c"] * 40,
        Bootstrap(resamples=400),
    )
    assert found is not None
    assert interval is not None
    assert interval.low < found.value < interval.high
    assert 0.03 < interval.high - interval.low < 0.2


def test_survival_by_hand() -> None:
    # Freireich 1963's six-week steps in small: at 6, 3 of 21; one censored there; at 7, 1 of 17.
    times = np.array([6, 6, 6, 6, 7, *range(9, 25)], dtype=float)
    events = np.array([1, 1, 1, 0, 1, *[0] * 16], dtype=bool)
    curve = kaplan_meier(times, events)
    assert curve.times.tolist() == [0, 6, 7]
    assert curve.surviving.tolist() == pytest.approx([1, 18 / 21, 18 / 21 * 16 / 17])
    nothing = kaplan_meier(np.array([1.0, 2.0]), np.array([False, False]))
    assert (nothing.times.tolist(), nothing.surviving.tolist()) == ([0.0], [1.0])
