"""What a site lets out of its statistics: nothing with fewer than ``min_count`` patients behind it.

Bins with too few patients are put together with their neighbours, and categories with too few with the most frequent
one, so that no total betrays them. Ranges are powers of two that
at least ``min_count`` patients reach. Pure functions over arrays.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAST_EXPONENT, _MOST_EXPONENT = -20, 40


@dataclass(frozen=True)
class Rules:
    """How careful to be.

    Attributes:
        min_count: patients that must be behind every number.
        noise: scale of Laplace noise on every count, in patients; 0 for none.
        seed: keeps the noise the same when the same question is asked of the same data again, so that asking often
            averages nothing out. Known to the site alone.
    """

    min_count: int
    noise: float = 0.0
    seed: bytes = b""


def told_cells(
    cells: Mapping[str, Sequence[str]], everybody: Sequence[str] | None, least: int
) -> dict[str, tuple[int, int]]:
    """The categories whose counts may be told.

    Cases that would be too few by themselves, those without an answer among them, are counted with the most frequent
    category: left out, their number would be what is missing from the total.

    Args:
        cells: the patient of each case in each category; a case is in one at most.
        everybody: the patient of each case, also of those in no category; None where no total is known anywhere.
        least: patients that must be in a category.

    Returns:
        Cases and patients by category.
    """
    told = {name: list(who) for name, who in cells.items() if len(set(who)) >= least}
    if told and everybody is not None:
        rest = list((Counter(everybody) - Counter(who for patients in told.values() for who in patients)).elements())
        if 0 < len(set(rest)) < least:
            told[max(told, key=lambda name: len(told[name]))] += rest
    return {name: (len(who), len(set(who))) for name, who in told.items()}


def collapse(counts: NDArray[np.int64], there: NDArray[np.bool_], least: int) -> NDArray[np.int64]:
    """Put bins together until each holds values of enough patients.

    A run of bins is told as one, at the bin in which its median lies; what is left at the upper end joins the last run.

    Args:
        counts: values in each bin, ``(bins,)``.
        there: which patient has values in which bin, ``(patients, bins)``.
        least: patients that a bin must hold.

    Returns:
        Counts with the same sum, ``(bins,)``; all zero if there are fewer patients than ``least``.
    """
    if int(there.any(axis=1).sum()) < least:
        return np.zeros_like(counts)
    runs: list[list[int]] = []
    inside = np.zeros(len(there), np.bool_)
    open_run: list[int] = []
    for index in np.flatnonzero(counts):
        open_run.append(int(index))
        inside |= there[:, index]
        if int(inside.sum()) >= least:
            runs.append(open_run)
            open_run, inside = [], np.zeros(len(there), np.bool_)
    if open_run:
        runs[-1] += open_run
    told = np.zeros_like(counts)
    for run in runs:
        reached = np.cumsum(counts[run])
        told[run[int(np.searchsorted(reached, reached[-1] / 2))]] = reached[-1]
    return told


def coarse_range(lowest: NDArray[np.float64], highest: NDArray[np.float64], least: int) -> tuple[float, float]:
    """A range that belongs to no case: from 0, or minus a power of two, to a power of two.

    Each end is the next power of two beyond what at least ``least`` patients reach, so it tells no more than that.

    Args:
        lowest: smallest value of each patient.
        highest: largest value of each patient.
        least: patients, at most as many as there are.
    """
    low, high = np.sort(lowest)[least - 1], np.sort(highest)[-least]
    lower = -_power(-low) if low < 0 else 0.0
    upper = _power(high) if high > 0 else 0.0
    return (lower, upper) if lower < upper else (0.0, 1.0)


def is_coarse(lower: float, upper: float) -> bool:
    """Whether a range is one that ``coarse_range`` gives, or the union of several such."""
    return lower < upper and (lower == 0 or lower == -_power(-lower)) and (upper == 0 or upper == _power(upper))


def blur(
    counts: NDArray[np.int64], patients: NDArray[np.int64], rules: Rules, name: str, least: int = 0
) -> NDArray[np.int64]:
    """Add noise as if about ``rules.noise`` patients more or fewer had been counted.

    Args:
        counts: values in each bin or category.
        patients: how many patients are behind each.
        rules: scale and seed.
        name: of what is counted; every name has its own noise.
        least: what a count that is told is at least.
    """
    if rules.noise == 0:
        return counts
    seed = hashlib.sha256(rules.seed + b"\0" + name.encode()).digest()
    drawn = np.random.default_rng(int.from_bytes(seed, "big")).laplace(0.0, rules.noise, counts.shape)
    blurred = np.rint(counts * (1 + drawn / np.maximum(patients, 1))).astype(np.int64)
    return np.where(counts > 0, np.maximum(blurred, least), 0)


def _power(value: float) -> float:
    exponent = math.ceil(math.log2(value)) if value > 0 else _LEAST_EXPONENT
    return float(2.0 ** min(max(exponent, _LEAST_EXPONENT), _MOST_EXPONENT))
