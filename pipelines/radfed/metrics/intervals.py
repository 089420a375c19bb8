"""Confidence intervals by the cluster bootstrap: patients are drawn, not scans, and within each site.

Two scans of a patient are no two independent looks, so whole patients are resampled; sites differ, and a federation's
sites are given rather than drawn, so each keeps its number of patients (stratified). BCa after Efron 1987; with strata
after Efron and Tibshirani 1993, as ``scipy.stats.bootstrap`` does for several samples.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Method = Literal["bca", "percentile"]

_MOST_VALUES = 2**21


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        level: confidence, 0 to 1.
        resamples: how often the patients are drawn.
        seed: of the random draws, so that a report can be made again.
        method: ``bca`` corrects for bias and skew; ``percentile`` does not.
    """

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    method: Method = "bca"


@dataclass(frozen=True)
class Interval:
    """A confidence interval, in the unit of the values."""

    low: float
    high: float


def mean_interval(
    values: Sequence[float] | NDArray[np.float64],
    patients: Sequence[Hashable],
    sites: Sequence[Hashable],
    how: Bootstrap | None = None,
) -> Interval | None:
    """Interval of the mean over cases.

    Args:
        values: one finite value a case ``(N,)``.
        patients: whose case it is ``(N,)``; the same name at two sites means two patients.
        sites: where the case is from ``(N,)``.
        how: level, resamples, seed and method.

    Returns:
        None where no site has two patients, so that nothing can be said about spread.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    how = how or Bootstrap()
    array = np.asarray(values, dtype=np.float64)
    if not len(array) == len(patients) == len(sites):
        raise ValueError(
            f"values, patients and sites must be equally long, got {len(array)}, {len(patients)}, {len(sites)}"
        )
    if not np.all(np.isfinite(array)):
        raise ValueError("values must be finite; leave cases out whose metric is undefined")
    strata = _per_patient(array, patients, sites)
    if all(len(stratum) < 2 for stratum in strata):
        return None
    means = _resampled_means(strata, how)
    total = np.sum([stratum.sum(axis=0) for stratum in strata], axis=0)
    without = [total - stratum for stratum in strata if len(stratum) >= 2]
    return _bounds(total[0] / total[1], means, [rest[:, 0] / rest[:, 1] for rest in without], how)


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Values ``(B,)`` for weights ``(B, N)``, how often each case counts; NaN where there is none."""


def interval_of(
    statistic: Statistic, patients: Sequence[Hashable], sites: Sequence[Hashable], how: Bootstrap | None = None
) -> Interval | None:
    """Interval of any statistic of the cases.

    Args:
        statistic: its values for several weightings of the cases.
        patients: whose case it is ``(N,)``; the same name at two sites means two patients.
        sites: where the case is from ``(N,)``.
        how: level, resamples, seed and method.

    Returns:
        None where nothing can be said about spread: no site has two patients, the statistic is undefined, or it is
        so without a single patient, or in more than half of the resamples.
    """
    how = how or Bootstrap()
    owner, strata = _owners(patients, sites)
    cases = len(owner)
    if all(len(stratum) < 2 for stratum in strata):
        return None
    estimate = float(statistic(np.ones((1, cases)))[0])
    random = np.random.default_rng(how.seed)
    drawn = np.zeros((how.resamples, sum(len(stratum) for stratum in strata)), dtype=np.int32)
    for stratum in strata:
        # As many as the site has, with replacement: how often each patient is drawn.
        drawn[:, stratum] = random.multinomial(len(stratum), np.full(len(stratum), 1 / len(stratum)), how.resamples)
    values = _in_blocks(statistic, lambda rows: drawn[rows][:, owner], how.resamples, cases)
    without = [
        _in_blocks(statistic, lambda rows, s=stratum: owner[None] != s[rows][:, None], len(stratum), cases)  # type: ignore[misc] # mypy cannot infer a lambda's default
        for stratum in strata
        if len(stratum) >= 2
    ]
    defined = values[np.isfinite(values)]
    if not np.isfinite(estimate) or 2 * len(defined) < len(values) or not np.isfinite(np.concatenate(without)).all():
        return None
    return _bounds(estimate, defined, without, how)


def _owners(patients: Sequence[Hashable], sites: Sequence[Hashable]) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
    """The number of each case's patient ``(N,)``, and the numbers of each site's patients."""
    numbers: dict[tuple[Hashable, Hashable], int] = {}
    owner = [numbers.setdefault(key, len(numbers)) for key in zip(sites, patients, strict=True)]
    of_site: dict[Hashable, list[int]] = {}
    for (site, _), number in numbers.items():
        of_site.setdefault(site, []).append(number)
    return np.array(owner, dtype=np.intp), [np.array(found, dtype=np.intp) for found in of_site.values()]


def _in_blocks(
    statistic: Statistic, weights: Callable[[slice], NDArray[np.generic]], rows: int, cases: int
) -> NDArray[np.float64]:
    """The statistic of many weightings, a few at a time, so that memory stays small."""
    step = max(1, _MOST_VALUES // max(1, cases))
    blocks = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    return np.concatenate([statistic(weights(block).astype(np.float64)) for block in blocks])


def _bounds(
    estimate: float, values: NDArray[np.float64], without: list[NDArray[np.float64]], how: Bootstrap
) -> Interval:
    """The interval from resampled values, and from those without one patient at a time, by site."""
    tail = (1 - how.level) / 2
    if how.method == "percentile":
        low, high = tail, 1 - tail
    else:
        low, high = _bca_quantiles(estimate, values, without, tail)
    bounds = np.quantile(values, [low, high])
    return Interval(float(bounds[0]), float(bounds[1]))


def _per_patient(
    values: NDArray[np.float64], patients: Sequence[Hashable], sites: Sequence[Hashable]
) -> list[NDArray[np.float64]]:
    """Per site, the sum of values and the number of cases of each patient ``(P, 2)``."""
    sums: dict[Hashable, dict[Hashable, list[float]]] = {}
    for value, patient, site in zip(values, patients, sites, strict=True):
        entry = sums.setdefault(site, {}).setdefault(patient, [0.0, 0.0])
        entry[0] += float(value)
        entry[1] += 1.0
    return [np.array(list(site.values())) for site in sums.values()]


def _resampled_means(strata: list[NDArray[np.float64]], how: Bootstrap) -> NDArray[np.float64]:
    """The case-weighted mean of each resample ``(B,)``."""
    random = np.random.default_rng(how.seed)
    totals = np.zeros((how.resamples, 2))
    for stratum in strata:
        drawn = random.integers(0, len(stratum), (how.resamples, len(stratum)))
        totals += stratum[drawn].sum(axis=1)
    means: NDArray[np.float64] = totals[:, 0] / totals[:, 1]
    return means


def _bca_quantiles(
    estimate: float, values: NDArray[np.float64], without: list[NDArray[np.float64]], tail: float
) -> tuple[float, float]:
    """The quantiles of the resampled values that bound a bias-corrected, accelerated interval."""
    # Sums in another order differ in the last bit; a resample equal to the estimate must count as equal.
    step = 1e-12 * max(1.0, abs(estimate))
    below = np.count_nonzero(values < estimate - step) + 0.5 * np.count_nonzero(np.abs(values - estimate) <= step)
    share = np.clip(below / len(values), 0.5 / len(values), 1 - 0.5 / len(values))
    bias = float(ndtri(share))
    acceleration = _acceleration(without)
    bounds = []
    for quantile in (tail, 1 - tail):
        shifted = bias + float(ndtri(quantile))
        bounds.append(float(ndtr(bias + shifted / (1 - acceleration * shifted))))
    return bounds[0], bounds[1]


def _acceleration(without: list[NDArray[np.float64]]) -> float:
    """Skew of the estimate, from leaving out one patient at a time."""
    third = second = 0.0
    for left_out in without:
        count = len(left_out)
        pull = (count - 1) * (left_out.mean() - left_out)
        third += float(np.sum(pull**3)) / count**3
        second += float(np.sum(pull**2)) / count**2
    return third / (6 * second**1.5) if second > 0 else 0.0
