"""What a membership attack is worth: areas within sites, hits at no false positive, and what chance gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from radfed.metrics.membership import (
    Group,
    allowed_of,
    area_of,
    by_chance,
    curve_of,
    hits_of,
    pooled_area,
    runs_of,
    share_interval,
    tellable_hits,
)
from radfed.metrics.roc import roc_curve


def test_pooled_area_counts_pairs_within_sites_only() -> None:
    random = np.random.default_rng(0)
    # The second site scores far higher and has more members: across sites this looks like membership.
    sites = [
        (random.normal(0, 1, 80), random.normal(0, 1, 300)),
        (random.normal(9, 1, 400), random.normal(9, 1, 60)),
    ]
    areas = [area_of(members, others) for members, others in sites]
    pooled = pooled_area([area for area in areas if area is not None])
    won = sum(float(np.sum(m[:, None] > o) + np.sum(m[:, None] == o) / 2) for m, o in sites)
    assert pooled.value == pytest.approx(won / (80 * 300 + 400 * 60))
    naive = area_of(*(np.concatenate(values) for values in zip(*sites, strict=True)))
    assert naive is not None
    assert naive.value > 0.8
    assert abs(pooled.value - 0.5) < 0.1


def test_pooled_variance_is_that_of_repeated_draws() -> None:
    random, values, variances = np.random.default_rng(1), [], []
    for _ in range(400):
        areas = [area_of(random.normal(0.5, 1, 25), random.normal(0, 1, n)) for n in (12, 30)]
        pooled = pooled_area([area for area in areas if area is not None])
        assert pooled.variance is not None
        values.append(pooled.value)
        variances.append(pooled.variance)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.2)


@pytest.mark.parametrize("groups", [[Group(9, 5, 0)], [Group(30, 10, 1), Group(6, 4, 0)]])
def test_chance_is_what_drawing_lots_gives(groups: list[Group]) -> None:
    law = by_chance(groups)
    assert law.sum() == pytest.approx(1)
    random = np.random.default_rng(0)
    drawn = [
        sum(hits_of(random.random(g.members), random.random(g.others), g.allowed) for g in groups) for _ in range(4000)
    ]
    found = np.bincount(drawn, minlength=len(law)) / len(drawn)
    assert np.abs(found - law).max() < 0.03
    expected = sum(g.members * (g.allowed + 1) / (g.others + 1) for g in groups)
    assert float(law @ np.arange(len(law))) == pytest.approx(expected)


@pytest.mark.parametrize(("others", "allowed"), [(99, 0), (100, 1), (250, 2)])
def test_one_per_cent_of_few_is_nobody(others: int, allowed: int) -> None:
    assert allowed_of(others, 0.01) == allowed


def test_a_tie_is_no_hit() -> None:
    assert hits_of(np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0]), 0) == 1


def test_shares_have_the_exact_interval() -> None:
    found, reference = share_interval(7, 40), binomtest(7, 40).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert share_interval(0, 20).low == 0
    assert share_interval(20, 20).high == 1


@given(st.integers(0, 60), st.integers(3, 60))
def test_hits_of_one_or_two_patients_are_told_as_more(hits: int, members: int) -> None:
    hits = min(hits, members)
    told, at_most = tellable_hits(hits, members)
    assert told >= hits
    assert at_most == (hits in (1, 2) or members - hits in (1, 2))
    assert (told == hits) or told in (2, members)


@given(st.lists(st.integers(0, 9), min_size=3, max_size=40), st.lists(st.integers(0, 9), min_size=3, max_size=40))
def test_runs_hold_none_or_three(members: list[int], others: list[int]) -> None:
    runs = runs_of(np.array(members, float), np.array(others, float))
    assert all(count == 0 or count >= 3 for run in runs for count in run)
    assert np.sum(runs, axis=0).tolist() == [len(members), len(others)]


def test_the_curve_through_runs_is_close_to_the_curve() -> None:
    random = np.random.default_rng(0)
    members, others = random.normal(1, 1, 3000), random.normal(0, 1, 3000)
    rates = np.logspace(-2, 0, 20)
    found = curve_of([runs_of(members, others)], rates)
    whole = roc_curve(np.r_[np.ones(3000, bool), np.zeros(3000, bool)], np.r_[members, others])
    assert whole is not None
    assert np.abs(found - np.interp(rates, whole.false_positive_rate, whole.sensitivity)).max() < 0.01
    assert curve_of([((5, 0), (0, 5))], np.array([1e-3])).tolist() == [1.0]
