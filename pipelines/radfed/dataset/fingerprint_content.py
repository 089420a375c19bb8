"""What a fingerprint holds: sums, deviations and histograms with common bins, and counts of cases; no single case."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from radfed.errors import InvalidInputError
from radfed.settings import Settings

MOST_BINS = 4096
_MOST = 1e18
Count = Annotated[int, Field(ge=0, le=_MOST)]


class Bins(Settings):
    """The common bins of a histogram: equally wide, or each wider than the one before by the same factor."""

    lower: Annotated[float, Field(ge=-_MOST, le=_MOST)]
    upper: Annotated[float, Field(ge=-_MOST, le=_MOST)]
    number: Annotated[int, Field(ge=1, le=MOST_BINS)]
    geometric: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lower >= self.upper or (self.geometric and self.lower <= 0):
            raise ValueError(f"lower must be below upper, and above 0 if geometric, got {self.lower} and {self.upper}")
        return self

    @property
    def edges(self) -> NDArray[np.float64]:
        """``(number + 1,)``, ascending."""
        space = np.geomspace if self.geometric else np.linspace
        return np.asarray(space(self.lower, self.upper, self.number + 1), np.float64)

    def find(self, values: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.intp]:
        """The bin of each value; what lies outside the range is in the first or the last."""
        found = np.searchsorted(self.edges, values, side="right") - 1
        return np.clip(found, 0, self.number - 1)

    def width_at(self, value: float) -> float:
        """Width of the bin that a value lies in."""
        at = int(self.find(np.array([value]))[0])
        return float(self.edges[at + 1] - self.edges[at])


class Histogram(Settings):
    """How many values lie in each bin. A bin without any may also be one that a site did not tell."""

    bins: Bins
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.counts) != self.bins.number:
            raise ValueError(f"there must be {self.bins.number} counts, one a bin, got {len(self.counts)}")
        return self

    def percentile(self, percent: float) -> float:
        """The value below which so many percent lie; within a bin, values are taken to lie evenly.

        Raises:
            InvalidInputError: the histogram is empty.
        """
        total = sum(self.counts)
        if total == 0:
            raise InvalidInputError("a histogram without a value has no percentiles")
        reached = np.concatenate([[0.0], np.cumsum(np.array(self.counts, np.float64))]) / total * 100
        # Only edges where something is added: an empty stretch has no place for a percentile.
        last = int(np.searchsorted(reached, percent, side="left"))
        if last == 0:
            first = int(np.flatnonzero(self.counts)[0])
            return float(self.bins.edges[first])
        low, high = reached[last - 1], reached[last]
        left, right = self.bins.edges[last - 1], self.bins.edges[last]
        return float(left + (right - left) * (percent - low) / (high - low))


class Measure(Settings):
    """Statistics of many values: of cases, or of voxels."""

    count: Annotated[int, Field(ge=1, le=_MOST)]
    sum: Annotated[float, Field(ge=-_MOST, le=_MOST)]
    deviation: Annotated[float, Field(ge=0, le=_MOST)] = Field(description="Sample standard deviation; of one value 0")
    histogram: Histogram | None = None

    @property
    def mean(self) -> float:
        """Sum by count."""
        return self.sum / self.count

    def percentile(self, percent: float) -> float:
        """From the histogram.

        Raises:
            InvalidInputError: there is none.
        """
        if self.histogram is None:
            raise InvalidInputError("no histogram was told, so there are no percentiles")
        return self.histogram.percentile(percent)


class SiteFingerprint(Settings):
    """A site's statistics, or those of all sites together.

    Names are those of ``radfed.dataset.fingerprint_features``. What is not there was not measured, or fewer than the
    site's ``min_count`` patients would be behind it.
    """

    values: dict[str, Measure] = Field(default={}, description="Of measured things")
    groups: dict[str, dict[str, Count]] = Field(default={}, description="Cases by category, one mapping a question")
    gpu_memory: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="What a site states of its GPU (GiB); of all sites the least"
    )

    def share(self, group: str) -> dict[str, float]:
        """Share of each category among the cases that were told."""
        cells = self.groups.get(group, {})
        total = sum(cells.values())
        return {name: count / total for name, count in cells.items()} if total else {}


class Fingerprint(Settings):
    """The fingerprint of a federation's data for one task: ``fingerprint.json``."""

    task: str = Field(description="Name of the task")
    task_digest: str
    sites: dict[str, SiteFingerprint]
    pooled: SiteFingerprint = Field(description="All sites together, from their sums and histograms")
    refused: dict[str, str] = Field(default={}, description="Sites whose answer is missing, and why, as a code")
    radfed_version: str

    @classmethod
    def read_json(cls, path: Path) -> Self:
        """Read ``fingerprint.json``, given as the file or the folder that holds it."""
        return cls.read(path / FINGERPRINT if path.is_dir() else path)


FINGERPRINT = "fingerprint.json"


def pool(sites: Mapping[str, SiteFingerprint]) -> SiteFingerprint:
    """All sites as one.

    Means and deviations come exactly from counts, sums and squared deviations; histograms are added bin by bin. What a
    site did not tell is missing from the pool, too.

    Raises:
        InvalidInputError: two sites used different bins for the same thing.
    """
    names = dict.fromkeys(name for site in sites.values() for name in site.values)
    values = {name: _pooled([s.values[name] for s in sites.values() if name in s.values], name) for name in names}
    groups: dict[str, dict[str, int]] = {}
    for site in sites.values():
        for group, cells in site.groups.items():
            into = groups.setdefault(group, {})
            for cell, count in cells.items():
                into[cell] = into.get(cell, 0) + count
    memory = [site.gpu_memory for site in sites.values() if site.gpu_memory is not None]
    return SiteFingerprint(values=values, groups=groups, gpu_memory=min(memory, default=None))


def _pooled(measures: list[Measure], name: str) -> Measure:
    count, total = sum(m.count for m in measures), math.fsum(m.sum for m in measures)
    mean = total / count
    squares = math.fsum((m.count - 1) * m.deviation**2 + m.count * (m.mean - mean) ** 2 for m in measures)
    deviation = math.sqrt(squares / (count - 1)) if count > 1 else 0.0
    histograms = [m.histogram for m in measures if m.histogram is not None]
    if len({h.bins for h in histograms}) > 1:
        raise InvalidInputError(f"{name}: the sites' histograms have different bins, so they cannot be added")
    merged = None
    if histograms:
        counts = np.sum([np.array(h.counts, np.int64) for h in histograms], axis=0)
        merged = Histogram(bins=histograms[0].bins, counts=tuple(int(c) for c in counts))
    return Measure(count=count, sum=total, deviation=deviation, histogram=merged)
