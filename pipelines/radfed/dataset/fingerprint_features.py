"""What a fingerprint asks of a dataset: names, and the common bins that follow from the task contract alone.

Bins come from plausible ranges and never from a site's smallest or largest value, which belong to a case. Where no
plausible range is known (MR intensities, covariates without limits), the sites tell a coarse one: see
``radfed.dataset.fingerprint_rules.coarse_range``.
"""

from dataclasses import dataclass

from radfed.dataset.fingerprint_content import Bins
from radfed.task import (
    CategoricalCovariate,
    Channel,
    Limits,
    MultiClass,
    MultiLabel,
    NumericCovariate,
    OutcomeTask,
    SegmentationTask,
    Survival,
)

AXES = ("R", "A", "S")
SPLIT, SCANNER, CLASS, EVENT = "split", "scanner", "class", "event"
INTENSITY, FOREGROUND, SPACING, SIZE = "intensity", "foreground", "spacing", "size"
VOXELS, LABEL_VOXELS, LABEL, FINDING = "voxels", "label_voxels", "label", "finding"
COVARIATE, MISSING, CATEGORY, TIME = "covariate", "missing", "category", "time"
CASES, GPU_MEMORY = "cases", "gpu_memory"
PRESENT, ABSENT = "present", "absent"

INTENSITY_BINS, OPEN_BINS = 1024, 64
_HU = (-1024.0, 3072.0)
_SIZE = (1.0, 8192.0)
_VOXELS = (1.0, 2.0**36)


@dataclass(frozen=True)
class Feature:
    """One thing that is measured of every case, or of every voxel.

    Attributes:
        name: for example ``spacing.S``.
        number: of bins.
        bins: None where the range is found out from the sites.
    """

    name: str
    number: int
    bins: Bins | None = None

    def with_range(self, lower: float, upper: float) -> Bins:
        """The bins over a range that the sites agreed on."""
        return self.bins or Bins(lower=lower, upper=upper, number=self.number)


def voxel_features(task: SegmentationTask | OutcomeTask) -> tuple[Feature, ...]:
    """Intensities per channel; of segmentation tasks those inside the labels, too."""
    kinds = (INTENSITY, FOREGROUND) if isinstance(task, SegmentationTask) else (INTENSITY,)
    return tuple(
        Feature(f"{kind}.{channel.name}", INTENSITY_BINS, _intensity_bins(channel))
        for channel in channels_of(task)
        for kind in kinds
    )


def case_features(task: SegmentationTask | OutcomeTask) -> tuple[Feature, ...]:
    """Numbers that each case has one of: spacing (mm), size (voxels), volumes of labels (voxels), covariates, time."""
    found: list[Feature] = []
    limits = _limits(task)
    if limits is not None:
        # Two percent a bin.
        spacing = Bins(lower=limits.min_spacing, upper=limits.max_spacing, number=302, geometric=True)
        size = Bins(lower=_SIZE[0], upper=_SIZE[1], number=455, geometric=True)
        found += [Feature(f"{SPACING}.{axis}", spacing.number, spacing) for axis in AXES]
        found += [Feature(f"{SIZE}.{axis}", size.number, size) for axis in AXES]
    if isinstance(task, SegmentationTask):
        voxels = Bins(lower=_VOXELS[0], upper=_VOXELS[1], number=72, geometric=True)
        names = [VOXELS, *(f"{LABEL_VOXELS}.{label.name}" for label in task.labels)]
        return (*found, *(Feature(name, voxels.number, voxels) for name in names))
    for covariate in task.covariates:
        if isinstance(covariate, NumericCovariate):
            found.append(Feature(f"{COVARIATE}.{covariate.name}", OPEN_BINS, _covariate_bins(covariate)))
    if isinstance(task.outcome, Survival):
        found.append(Feature(TIME, OPEN_BINS))
    return tuple(found)


def groups(task: SegmentationTask | OutcomeTask) -> dict[str, tuple[str, ...] | None]:
    """Questions with a few answers, by which cases are counted; None where the answers are the site's own words."""
    known: dict[str, tuple[str, ...] | None] = {SPLIT: ("training", "validation", "test")}
    if _limits(task) is not None:
        known[SCANNER] = None
    if isinstance(task, SegmentationTask):
        return known | {f"{LABEL}.{label.name}": (PRESENT, ABSENT) for label in task.labels}
    for covariate in task.covariates:
        known[f"{MISSING}.{covariate.name}"] = (PRESENT, ABSENT)
        if isinstance(covariate, CategoricalCovariate):
            known[f"{CATEGORY}.{covariate.name}"] = covariate.values
    match task.outcome:
        case MultiClass():
            known[CLASS] = task.outcome.classes
        case MultiLabel():
            known |= {f"{FINDING}.{name}": (PRESENT, ABSENT) for name in task.outcome.findings}
        case Survival():
            known[EVENT] = (PRESENT, ABSENT)
    return known


def channels_of(task: SegmentationTask | OutcomeTask) -> tuple[Channel, ...]:
    """The image channels of a task; none without an image."""
    if isinstance(task, SegmentationTask):
        return task.channels
    return task.image.channels if task.image is not None else ()


def features_of(task: SegmentationTask | OutcomeTask) -> tuple[str, ...]:
    """Names of everything that a fingerprint tells, for people who decide on it."""
    return (*(f.name for f in (*voxel_features(task), *case_features(task))), *groups(task))


def message_bytes(task: SegmentationTask | OutcomeTask) -> int:
    """About how much leaves a site in all: three numbers a bin, and a few a feature."""
    features = (*voxel_features(task), *case_features(task))
    cells = sum(len(cells) if cells is not None else 8 for cells in groups(task).values())
    return sum(feature.number * 3 * 8 for feature in features) + (len(features) + cells) * 8 * 8


def _limits(task: SegmentationTask | OutcomeTask) -> Limits | None:
    if isinstance(task, SegmentationTask):
        return task.limits
    return task.image.limits if task.image is not None else None


def _intensity_bins(channel: Channel) -> Bins | None:
    return Bins(lower=_HU[0], upper=_HU[1], number=INTENSITY_BINS) if channel.modality == "CT" else None


def _covariate_bins(covariate: NumericCovariate) -> Bins | None:
    if covariate.lower is None or covariate.upper is None:
        return None
    return Bins(lower=covariate.lower, upper=covariate.upper, number=OPEN_BINS)
