"""The measuring: what a fingerprint needs of every training case, with the patient it belongs to. Stays at the site."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Bins
from radfed.dataset.layout import Case, Dataset, Observed
from radfed.task import CategoricalCovariate, NumericCovariate, OutcomeTask, SegmentationTask

AnyOf = SegmentationTask | OutcomeTask
Cells = dict[str, list[str]]
"""Patients of the cases in each category, once for each case."""


@dataclass
class Voxels:
    """Moments of voxel values, and the extremes of every patient.

    Attributes:
        count: of voxels.
        mean: of their values.
        squares: sum of squared deviations from the mean.
        extremes: smallest and largest value, by patient.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, values: NDArray[np.float32], patient: str) -> None:
        """Take one image (Chan et al. 1979, so that no digit is lost over many images)."""
        if values.size == 0:
            return
        exact = values.astype(np.float64)
        mean = float(exact.mean())
        squares = float(np.square(exact - mean).sum())
        total = self.count + exact.size
        self.squares += squares + (mean - self.mean) ** 2 * self.count * exact.size / total
        self.mean += (mean - self.mean) * exact.size / total
        self.count = total
        low, high = self.extremes.get(patient, (np.inf, -np.inf))
        self.extremes[patient] = (min(low, float(exact.min())), max(high, float(exact.max())))


@dataclass
class VoxelHistogram:
    """Voxels in each bin, and which patient has any there."""

    counts: NDArray[np.int64]
    there: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def add(self, values: NDArray[np.float32], patient: str, bins: Bins) -> None:
        """Take one image."""
        found = np.bincount(bins.find(values), minlength=bins.number)
        self.counts += found
        seen = self.there.setdefault(patient, np.zeros(bins.number, np.bool_))
        seen |= found > 0


def case_values(dataset: Dataset, task: AnyOf) -> dict[str, NDArray[np.float64]]:
    """Each feature of ``case_features``, one value a training case, NaN where it is missing."""
    cases = dataset.split("training")
    rows = [dict(_numbers(case, task)) for case in cases]
    return {
        feature.name: np.array([row.get(feature.name, np.nan) for row in rows], np.float64)
        for feature in names.case_features(task)
    }


def _numbers(case: Case, task: AnyOf) -> Iterator[tuple[str, float]]:
    if case.spacing is not None and case.size is not None:
        for axis, spacing, size in zip(names.AXES, case.spacing, case.size, strict=True):
            yield f"{names.SPACING}.{axis}", spacing
            yield f"{names.SIZE}.{axis}", size
    match task:
        case SegmentationTask():
            if case.label is not None and case.spacing is not None and case.size is not None:
                yield names.VOXELS, float(np.prod(case.size, dtype=np.float64))
                for label in task.labels:
                    volume = case.label_volumes.get(label.value, 0.0)
                    yield f"{names.LABEL_VOXELS}.{label.name}", volume / float(np.prod(case.spacing))
        case OutcomeTask():
            for covariate in task.covariates:
                value = case.covariates.get(covariate.name)
                if isinstance(covariate, NumericCovariate) and isinstance(value, (int, float)):
                    yield f"{names.COVARIATE}.{covariate.name}", float(value)
            if isinstance(case.outcome, Observed):
                yield names.TIME, case.outcome.time


def cells(dataset: Dataset, task: AnyOf) -> dict[str, Cells]:
    """Each group of ``fingerprint_features.groups`` with the patients of the cases in its categories.

    All but ``split`` are of training cases.
    """
    counted: dict[str, Cells] = {
        group: {cell: [] for cell in known or ()} for group, known in names.groups(task).items()
    }
    for case in dataset.cases:
        counted[names.SPLIT][case.split].append(case.patient)
    for case in dataset.split("training"):
        for group, cell in _categories(case, task):
            if group not in counted or (names.groups(task)[group] is not None and cell not in counted[group]):
                continue
            counted[group].setdefault(cell, []).append(case.patient)
    return counted


def _categories(case: Case, task: AnyOf) -> Iterator[tuple[str, str]]:
    if case.scanner is not None and (made := f"{case.scanner.manufacturer} {case.scanner.model}".strip()):
        yield names.SCANNER, "".join(c for c in made if c.isprintable())[:64]
    match task:
        case SegmentationTask():
            if case.label is not None:
                for label in task.labels:
                    yield f"{names.LABEL}.{label.name}", _whether(case.label_volumes.get(label.value, 0.0) > 0)
        case OutcomeTask():
            for covariate in task.covariates:
                value = case.covariates.get(covariate.name)
                yield f"{names.MISSING}.{covariate.name}", _whether(value is not None)
                if isinstance(covariate, CategoricalCovariate) and value is not None:
                    yield f"{names.CATEGORY}.{covariate.name}", str(value)
            match case.outcome:
                case str() as name:
                    yield names.CLASS, name
                case tuple() as findings:
                    for name in task.finds:
                        yield f"{names.FINDING}.{name}", _whether(name in findings)
                case Observed() as observed:
                    yield names.EVENT, _whether(observed.event)


def voxels(
    dataset: Dataset, task: AnyOf, moments: bool, bins: Mapping[str, Bins]
) -> tuple[dict[str, Voxels], dict[str, VoxelHistogram]]:
    """One pass over the images of all training cases.

    Args:
        dataset: where they are.
        task: names the channels.
        moments: whether to take moments and extremes.
        bins: of the features whose histograms are wanted.
    """
    wanted = [feature.name for feature in names.voxel_features(task)]
    taken = {name: Voxels() for name in wanted} if moments else {}
    histograms = {name: VoxelHistogram(np.zeros(b.number, np.int64)) for name, b in bins.items()}
    if not wanted or not (taken or histograms):
        return taken, histograms
    for case in dataset.split("training"):
        for name, values in _images(dataset, case, task):
            if name in taken:
                taken[name].add(values, case.patient)
            if name in histograms:
                histograms[name].add(values, case.patient, bins[name])
    return taken, histograms


def _images(dataset: Dataset, case: Case, task: AnyOf) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Voxel values of a case, flat, by feature."""
    if case.image is None:
        return
    image = dataset.image(case).array
    inside = dataset.label(case).array[0] > 0 if isinstance(task, SegmentationTask) and case.label else None
    for index, channel in enumerate(names.channels_of(task)):
        if index >= len(image):
            return
        yield f"{names.INTENSITY}.{channel.name}", image[index].reshape(-1)
        if inside is not None:
            yield f"{names.FOREGROUND}.{channel.name}", image[index][inside]


def _whether(there: bool) -> str:
    return names.PRESENT if there else names.ABSENT
