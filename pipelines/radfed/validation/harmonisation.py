"""How far each site's data lie from those of the others, from a fingerprint alone: before anyone trains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Fingerprint, Measure, SiteFingerprint, pool

ALIKE, FAR = 0.1, 0.3
"""Distances below the first are said to be alike, above the second far."""

_COARSE = 24
# Spacings and sizes are compared in steps of a quarter: nobody minds 0.80 mm beside 0.82 mm.
_STEP = 1.25
_FOREMOST = 3
# What voxels show differs by case, not by voxel: they have no chance level of their own.
_VOXELS = (names.INTENSITY, names.FOREGROUND)
_NOT_COMPARED = (names.SPLIT,)


@dataclass(frozen=True)
class Distance:
    """One site beside all others, in one respect.

    Attributes:
        site: its name.
        about: name of the feature or group, as in the fingerprint.
        distance: Jensen-Shannon distance, 0 for the same shares in every bin, 1 for no bin in common.
        chance: what differs by chance alone between so few cases; None for voxels.
        here: in words, what the site has.
        elsewhere: in words, what the others have.
    """

    site: str
    about: str
    distance: float
    chance: float | None
    here: str
    elsewhere: str

    @property
    def excess(self) -> float:
        """The part of the distance that chance does not explain; by this things are ranked."""
        return math.sqrt(max(0.0, self.distance**2 - (self.chance or 0.0) ** 2))

    @property
    def verdict(self) -> str:
        """In a word."""
        return "alike" if self.excess < ALIKE else "differs" if self.excess < FAR else "far"


def jensen_shannon(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Square root of the Jensen-Shannon divergence to base 2 (Lin 1991; Endres and Schindelin 2003), from 0 to 1.

    Args:
        one: counts or shares, ``(bins,)``, not all zero.
        other: the same of what it is compared with.
    """
    p, q = one / one.sum(), other / other.sum()
    middle = (p + q) / 2
    divergence = (_relative(p, middle) + _relative(q, middle)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def _relative(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log2(p[there] / q[there])))


def chance_level(bins: int, one: int, other: int) -> float:
    """The distance to expect between two samples of the same distribution: chi-square with ``bins - 1`` degrees."""
    if bins < 2:
        return 0.0
    return math.sqrt(min(1.0, (bins - 1) / (8 * math.log(2)) * (1 / one + 1 / other)))


def distances(fingerprint: Fingerprint) -> tuple[Distance, ...]:
    """Every site beside the pool of all others, in every respect that both told; the farthest first."""
    found: list[Distance] = []
    for site, own in fingerprint.sites.items():
        others = pool({name: other for name, other in fingerprint.sites.items() if name != site})
        found += [_of_values(site, name, own.values[name], others) for name in own.values if name in others.values]
        for group in own.groups.keys() & others.groups.keys():
            if group not in _NOT_COMPARED:
                found.append(_of_groups(site, group, own, others))
    return tuple(sorted((d for d in found), key=lambda d: (-d.excess, d.site, d.about)))


def by_site(found: tuple[Distance, ...]) -> dict[str, float]:
    """How far each site lies from the others: the mean of its three largest excesses; the farthest site first.

    Scanners count only through what they do to the data.
    """
    excesses: dict[str, list[float]] = {}
    for distance in found:
        if distance.about != names.SCANNER:
            excesses.setdefault(distance.site, []).append(distance.excess)
    far = {site: sum(sorted(values)[-_FOREMOST:]) / len(values[-_FOREMOST:]) for site, values in excesses.items()}
    return dict(sorted(far.items(), key=lambda item: (-item[1], item[0])))


def _of_values(site: str, name: str, own: Measure, others: SiteFingerprint) -> Distance:
    other = others.values[name]
    assert own.histogram is not None  # a fingerprint's measures have one each
    assert other.histogram is not None
    mine, theirs = np.array(own.histogram.counts, np.float64), np.array(other.histogram.counts, np.float64)
    voxels = name.partition(".")[0] in _VOXELS
    bins = own.histogram.bins
    if bins.geometric:
        run = max(1, round(math.log(_STEP) / math.log(bins.edges[1] / bins.edges[0])))
        starts = np.arange(0, bins.number, run)
        mine, theirs = np.add.reduceat(mine, starts), np.add.reduceat(theirs, starts)
    elif not voxels:
        mine, theirs = _coarser(mine, theirs)
    occupied = int(((mine + theirs) > 0).sum())
    return Distance(
        site=site,
        about=name,
        distance=jensen_shannon(mine, theirs),
        chance=None if voxels else chance_level(occupied, own.count, other.count),
        here=_middle(own),
        elsewhere=_middle(other),
    )


def _coarser(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bins that hold a fair number of cases each: few cases in many bins differ by chance alone."""
    both = np.cumsum(mine + theirs)
    run = np.minimum((both - (mine + theirs) / 2) / both[-1] * _COARSE, _COARSE - 1).astype(np.intp)
    return np.bincount(run, mine, _COARSE).astype(np.float64), np.bincount(run, theirs, _COARSE).astype(np.float64)


def _of_groups(site: str, group: str, own: SiteFingerprint, others: SiteFingerprint) -> Distance:
    cells = sorted(own.groups[group].keys() | others.groups[group].keys())
    mine = np.array([own.groups[group].get(cell, 0) for cell in cells], np.float64)
    theirs = np.array([others.groups[group].get(cell, 0) for cell in cells], np.float64)
    return Distance(
        site=site,
        about=group,
        distance=jensen_shannon(mine, theirs),
        chance=chance_level(len(cells), int(mine.sum()), int(theirs.sum())),
        here=_shares(own.share(group)),
        elsewhere=_shares(others.share(group)),
    )


def _middle(measure: Measure) -> str:
    low, middle, high = (f"{measure.percentile(percent):.3g}" for percent in (10, 50, 90))
    return f"{middle} ({low} to {high})"


def _shares(shares: Mapping[str, float]) -> str:
    listed = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {share:.0%}" for name, share in listed[:4]) + (", ..." if len(listed) > 4 else "")
