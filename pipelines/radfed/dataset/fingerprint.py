"""A dataset's fingerprint: all that a site tells about its data before anybody trains on them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from radfed.dataset import fingerprint_features as names
from radfed.dataset import fingerprint_measure as measuring
from radfed.dataset.fingerprint_content import Bins, Histogram, Measure, SiteFingerprint
from radfed.dataset.fingerprint_features import Feature
from radfed.dataset.fingerprint_measure import AnyOf, VoxelHistogram, Voxels
from radfed.dataset.fingerprint_rules import Rules, blur, coarse_range, collapse, is_coarse, told_cells
from radfed.dataset.layout import Dataset
from radfed.errors import DataError


class Told:
    """What a dataset's site may tell, question by question. Nothing here is of fewer than ``min_count`` patients.

    Questions come in two rounds, as FLARE's statistics workflow asks them: counts, sums and ranges first, then
    histograms over the ranges on which all sites agreed.

    Args:
        dataset: to be described; only its training cases are, but for the counts of each split.
        task: what of it matters.
        rules: how careful to be.
    """

    def __init__(self, dataset: Dataset, task: AnyOf, rules: Rules) -> None:
        self._dataset, self._task, self._rules = dataset, task, rules
        self._patients = [case.patient for case in dataset.split("training")]
        enough = len(set(self._patients)) >= rules.min_count
        self._values = self._case_values() if enough else {}
        self._voxels: dict[str, Voxels] = {}
        self._histograms: dict[str, tuple[Bins, VoxelHistogram]] = {}
        if enough:
            self._first_pass()
        self.features: dict[str, Feature] = {
            feature.name: feature
            for feature in (*names.voxel_features(task), *names.case_features(task))
            if feature.name in self._values or feature.name in self._voxels
        }
        self._own = {name: feature.with_range(*self._range(name)) for name, feature in self.features.items()}
        self.groups = self._groups()

    def range(self, name: str) -> tuple[float, float]:
        """The range of a feature: the plausible one, or else a coarse one of this site."""
        bins = self._own[name]
        return bins.lower, bins.upper

    def agreed(self, name: str, lower: float, upper: float) -> Bins:
        """The bins over the range that all sites agreed on.

        Raises:
            DataError: ``unknown_bins`` for bins that the task does not give: with bins of their own choice, many
                questions could find out single values.
        """
        feature = self.features[name]
        if feature.bins is not None:
            if not np.allclose([lower, upper], [feature.bins.lower, feature.bins.upper]):
                raise DataError("unknown_bins", f"{name}: asked for the range {lower} to {upper}; it is fixed")
            return feature.bins
        own = self._own[name]
        if not is_coarse(lower, upper) or lower > own.lower or upper < own.upper:
            raise DataError("unknown_bins", f"{name}: asked for the range {lower} to {upper}; none that sites agree on")
        return feature.with_range(lower, upper)

    def prepare(self, bins: Mapping[str, Bins]) -> None:
        """Take the histograms of several voxel features in one pass over the images, before they are asked for."""
        missing = {
            name: wanted
            for name, wanted in bins.items()
            if name in self._voxels and (name not in self._histograms or self._histograms[name][0] != wanted)
        }
        if missing:
            _, taken = measuring.voxels(self._dataset, self._task, False, missing)
            self._histograms |= {name: (missing[name], histogram) for name, histogram in taken.items()}

    def measure(self, name: str) -> Measure:
        """Count, sum and deviation; without noise they are exact."""
        if self._rules.noise > 0:
            return _from_histogram(self.histogram(name, self._own[name]))
        if name in self._voxels:
            found = self._voxels[name]
            deviation = float(np.sqrt(found.squares / max(found.count - 1, 1)))
            return Measure(count=found.count, sum=found.mean * found.count, deviation=deviation)
        values, _ = self._values[name]
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        return Measure(count=len(values), sum=float(values.sum()), deviation=deviation)

    def histogram(self, name: str, bins: Bins) -> Histogram:
        """Counts by bin, small ones put together with their neighbours."""
        if name in self._voxels:
            counts, there = self._voxel_histogram(name, bins)
        else:
            counts, there = self._case_histogram(name, bins)
        told = collapse(counts, there, self._rules.min_count)
        behind = np.where(told > 0, np.maximum(there.sum(axis=0), self._rules.min_count), 0).astype(np.int64)
        told = blur(told, behind, self._rules, name)
        return Histogram(bins=bins, counts=tuple(int(count) for count in told))

    def _case_values(self) -> dict[str, tuple[NDArray[np.float64], list[str]]]:
        """Values with their patients. A few missing values take the mean: their number could be had by subtraction."""
        found = {}
        least = self._rules.min_count
        for name, values in measuring.case_values(self._dataset, self._task).items():
            missing = np.isnan(values)
            with_value = {who for who, gone in zip(self._patients, missing, strict=True) if not gone}
            without = {who for who, gone in zip(self._patients, missing, strict=True) if gone}
            if len(with_value) < least:
                continue
            if 0 < len(without) < least:
                values = np.where(missing, values[~missing].mean(), values)
                missing = np.zeros_like(missing)
            patients = [who for who, gone in zip(self._patients, missing, strict=True) if not gone]
            found[name] = (values[~missing], patients)
        return found

    def _first_pass(self) -> None:
        """Moments of the voxels, and histograms where the bins are known already."""
        fixed = {f.name: f.bins for f in names.voxel_features(self._task) if f.bins is not None}
        taken, histograms = measuring.voxels(self._dataset, self._task, True, fixed)
        self._voxels = {name: v for name, v in taken.items() if len(v.extremes) >= self._rules.min_count}
        self._histograms = {name: (fixed[name], histogram) for name, histogram in histograms.items()}

    def _range(self, name: str) -> tuple[float, float]:
        if name in self._voxels:
            extremes = np.array(list(self._voxels[name].extremes.values()), np.float64)
            return coarse_range(extremes[:, 0], extremes[:, 1], self._rules.min_count)
        values, patients = self._values[name]
        lowest: dict[str, float] = {}
        highest: dict[str, float] = {}
        for value, who in zip(values, patients, strict=True):
            lowest[who] = min(value, lowest.get(who, np.inf))
            highest[who] = max(value, highest.get(who, -np.inf))
        return coarse_range(np.array([*lowest.values()]), np.array([*highest.values()]), self._rules.min_count)

    def _voxel_histogram(self, name: str, bins: Bins) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        self.prepare({name: bins})
        histogram = self._histograms[name][1]
        return histogram.counts, np.array(list(histogram.there.values()), np.bool_)

    def _case_histogram(self, name: str, bins: Bins) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        values, patients = self._values[name]
        found = bins.find(values)
        rows = {who: row for row, who in enumerate(dict.fromkeys(patients))}
        there = np.zeros((len(rows), bins.number), np.bool_)
        there[[rows[who] for who in patients], found] = True
        return np.bincount(found, minlength=bins.number).astype(np.int64), there

    def _groups(self) -> dict[str, dict[str, int]]:
        told: dict[str, dict[str, int]] = {}
        for group, cells in measuring.cells(self._dataset, self._task).items():
            # Cases of all splits together are counted nowhere else.
            everybody = None if group == names.SPLIT else self._patients
            kept = told_cells(cells, everybody, self._rules.min_count)
            counts, behind = np.array(list(kept.values()), np.int64).reshape(-1, 2).T
            counts = blur(counts, behind, self._rules, group, self._rules.min_count)
            if kept:
                told[group] = dict(zip(kept, (int(count) for count in counts), strict=True))
        return told


def fingerprint(dataset: Dataset, task: AnyOf, rules: Rules) -> SiteFingerprint:
    """What a site would tell of a dataset if it were alone: ranges that are not fixed are its own."""
    told = Told(dataset, task, rules)
    bins = {name: told.agreed(name, *told.range(name)) for name in told.features}
    told.prepare(bins)
    values = {
        name: told.measure(name).model_copy(update={"histogram": told.histogram(name, bins[name])}) for name in bins
    }
    return SiteFingerprint(values=values, groups=told.groups)


def cells_of(groups: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Counts by ``group=category``, the name under which a category travels."""
    return {f"{group}={cell}": count for group, cells in groups.items() for cell, count in cells.items()}


def _from_histogram(histogram: Histogram) -> Measure:
    """Count, sum and deviation of values in the middle of their bins."""
    counts = np.array(histogram.counts, np.float64)
    middles = (histogram.bins.edges[1:] + histogram.bins.edges[:-1]) / 2
    total = max(int(counts.sum()), 1)
    mean = float((counts * middles).sum()) / total
    squares = float((counts * np.square(middles - mean)).sum())
    return Measure(count=total, sum=mean * total, deviation=float(np.sqrt(squares / max(total - 1, 1))))
