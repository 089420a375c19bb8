"""95% intervals hold the truth in 93 to 97 of a hundred simulated studies, each of the size of a real one."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from radfed.metrics.intervals import Bootstrap, Interval, mean_interval
from radfed.metrics.operating import wilson
from radfed.metrics.roc import auroc_interval, delong

Study = Callable[[np.random.Generator], tuple[Interval | None, float]]
"""An interval from a simulated study, and the truth."""

SITES = (("a", 80, 12.0), ("b", 60, 8.0), ("c", 100, 5.0))
"""Name, patients, and first parameter of the Dice's beta distribution; the second is 2.

With half as many patients the bootstrap's intervals hold the truth in 94.0%, as drawing within small sites shows a
little too little spread.
"""


def dice_study(resamples: int) -> Study:
    """Skewed Dice of patients with one or two scans each, three sites of different level."""

    def study(random: np.random.Generator) -> tuple[Interval | None, float]:
        values, patients, sites = [], [], []
        truth = cases = 0.0
        for site, count, high in SITES:
            scans = 1 + (np.arange(count) % 3 == 0)
            level = np.repeat(random.beta(high, 2, count), scans)
            values += np.clip(level + random.uniform(-0.02, 0.02, len(level)), -1, 2).tolist()
            patients += np.repeat(np.arange(count), scans).tolist()
            sites += [site] * len(level)
            truth += len(level) * high / (high + 2)
            cases += len(level)
        how = Bootstrap(resamples=resamples, seed=int(random.integers(2**31)))
        return mean_interval(values, patients, sites, how), truth / cases

    return study


def area_study(random: np.random.Generator) -> tuple[Interval | None, float]:
    truth = np.arange(150) < 60
    found = delong(truth, random.normal(0, 1, len(truth)) + truth)
    assert found is not None
    return auroc_interval(found), 0.5 * math.erfc(-0.5)


def share_study(random: np.random.Generator) -> tuple[Interval | None, float]:
    # The share is drawn as well: at one share and size the score interval's coverage is a fixed number near 95%.
    share = float(random.uniform(0.6, 0.95))
    return wilson(int(random.binomial(120, share)), 120), share


def coverage(study: Study, studies: int, seed: int) -> float:
    random, held = np.random.default_rng(seed), 0
    for _ in range(studies):
        found, truth = study(random)
        assert found is not None
        held += found.low <= truth <= found.high
    return held / studies


@pytest.mark.parametrize(
    ("study", "studies"),
    [(dice_study(400), 700), (area_study, 500), (share_study, 3000)],
    ids=["bootstrap", "delong", "wilson"],
)
def test_intervals_hold_the_truth_in_19_of_20_studies(study: Study, studies: int) -> None:
    assert 0.93 <= coverage(study, studies, seed=20261123) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "studies"),
    [(dice_study(2000), 4000), (area_study, 20_000), (share_study, 40_000)],
    ids=["bootstrap", "delong", "wilson"],
)
def test_intervals_hold_the_truth_in_19_of_20_of_many_studies(study: Study, studies: int) -> None:
    found = coverage(study, studies, seed=1)
    print(f"coverage {found:.4f} of {studies}")
    assert 0.935 <= found <= 0.965
