"""From a fingerprint to a plan: the values of a task contract that follow from the data of all sites together.

The rules for spacing and patch are those of nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z), taken from
merged histograms; nothing is averaged over sites that is not an average.
"""

from typing import Any

import numpy as np

from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Fingerprint, Measure, SiteFingerprint
from radfed.errors import InvalidInputError
from radfed.settings import Settings
from radfed.task import MultiClass, MultiLabel, NumericCovariate, OutcomeTask, SegmentationTask
from radfed.workflow.plan_size import plan_sizes

AnyOf = SegmentationTask | OutcomeTask

# A spacing three times that of the other axes, with three times fewer voxels, is one that slices were spared on.
_ANISOTROPY = 3.0
_FINE = 10
_WINDOW = (0.5, 99.5)
# A distribution whose extreme lies so many times further out than its 99.5th percentile has outliers.
_LONG_TAIL = 2.0
_MOST_WEIGHT = 100.0


class Decision(Settings):
    """One value of the contract, and why it is so.

    Attributes are plain, for ``plan.json``.
    """

    key: str
    before: object
    after: object
    reason: str


class Plan(Settings):
    """What was decided, with its origin: ``plan.json``."""

    task: str
    fingerprint: str = ""
    sites: tuple[str, ...]
    batch_size: int | None = None
    decisions: tuple[Decision, ...]
    notes: tuple[str, ...] = ()


def make_plan(fingerprint: Fingerprint, task: AnyOf, digest: str = "") -> tuple[AnyOf, Plan]:
    """The contract with the values that the data call for.

    Args:
        fingerprint: of the federation's data.
        task: the contract to fill in; it must be the one that the fingerprint was made for, but for these values.
        digest: SHA-256 of the fingerprint's file, for the record.

    Returns:
        The new contract, and what was changed and why.

    Raises:
        InvalidInputError: the fingerprint is of another task, or no measured value fits the contract.
    """
    if fingerprint.task != task.name:
        raise InvalidInputError(f"the fingerprint is of task {fingerprint.task}, not of {task.name}; make one for it")
    decisions, notes = _Decisions(task), _missing(fingerprint)
    pooled = fingerprint.pooled
    match task:
        case SegmentationTask():
            _spacing(pooled, task, decisions)
            _intensity(pooled, task, ("intensity",), decisions)
        case OutcomeTask():
            if task.image is not None:
                _intensity(pooled, task, ("image", "intensity"), decisions)
            _covariates(pooled, task, decisions, notes)
            _class_weights(pooled, task, decisions, notes)
    sizes = plan_sizes(fingerprint, decisions.task)
    if sizes.roi_size is not None:
        decisions.put(("roi_size",), list(sizes.roi_size), sizes.reason)
    plan = Plan(
        task=task.name,
        fingerprint=digest,
        sites=tuple(sorted(fingerprint.sites)),
        batch_size=sizes.batch_size,
        decisions=tuple(decisions.made),
        notes=(*notes, *([sizes.reason] if sizes.reason and sizes.roi_size is None else [])),
    )
    return decisions.task, plan


class _Decisions:
    """A contract that is changed value by value, and checked after each."""

    def __init__(self, task: AnyOf) -> None:
        self.task = task
        self.made: list[Decision] = []

    def put(self, path: tuple[str | int, ...], value: object, reason: str, named: str = "") -> None:
        """Set one value, and note it under its path or a name for people."""
        content: Any = self.task.model_dump(mode="json")
        holder = content
        for part in path[:-1]:
            holder = holder[part]
        key, before = ".".join(str(part) for part in path), holder[path[-1]]
        holder[path[-1]] = value
        self.task = type(self.task).check(content, f"plan: {key}")
        self.made.append(Decision(key=named or key, before=before, after=value, reason=reason))


def _spacing(pooled: SiteFingerprint, task: SegmentationTask, decisions: _Decisions) -> None:
    """The median of each axis; for slices far apart the finest tenth, but never finer than the other axes."""
    axes = [pooled.values.get(f"{names.SPACING}.{axis}") for axis in names.AXES]
    sizes = [pooled.values.get(f"{names.SIZE}.{axis}") for axis in names.AXES]
    if any(found is None for found in (*axes, *sizes)):
        return
    target = [_roundest(found, 50) for found in axes if found is not None]
    voxels = [found.percentile(50) for found in sizes if found is not None]
    reason = "median over the training cases of all sites"
    worst = max(range(3), key=lambda axis: target[axis])
    others = [axis for axis in range(3) if axis != worst]
    coarse = target[worst] > _ANISOTROPY * max(target[axis] for axis in others)
    few = voxels[worst] * _ANISOTROPY < min(voxels[axis] for axis in others)
    if coarse and few and task.dimensions == 3:
        fine = axes[worst]
        assert fine is not None  # all of them are there
        target[worst] = max(_roundest(fine, _FINE), *(target[axis] for axis in others))
        reason += f"; along {names.AXES[worst]} the {_FINE}th percentile, for slices there lie far apart"
    decisions.put(("spacing",), target, reason)


def _intensity(pooled: SiteFingerprint, task: AnyOf, path: tuple[str, ...], decisions: _Decisions) -> None:
    """CT: a window from percentiles, within the labels where there are any. Else by how long the tail is."""
    found = []
    for channel in names.channels_of(task):
        where = [f"{kind}.{channel.name}" for kind in (names.FOREGROUND, names.INTENSITY)]
        measure = next((pooled.values[name] for name in where if name in pooled.values), None)
        if measure is None or measure.histogram is None:
            return
        found.append((channel, measure))
    if all(channel.modality == "CT" for channel, _ in found):
        lower = min(measure.percentile(_WINDOW[0]) for _, measure in found)
        upper = max(measure.percentile(_WINDOW[1]) for _, measure in found)
        rule: dict[str, object] = {"rule": "window", "lower": float(round(lower)), "upper": float(round(upper))}
        of = "labelled voxels" if isinstance(task, SegmentationTask) else "voxels"
        decisions.put(path, rule, f"{_WINDOW[0]} to {_WINDOW[1]} percentile of the {of} of all sites (HU)")
        return
    tails = []
    for channel, _ in found:
        measure = pooled.values[f"{names.INTENSITY}.{channel.name}"]
        middle, high, most = (measure.percentile(percent) for percent in (50, _WINDOW[1], 100))
        tails.append((most - middle) / max(high - middle, 1e-9))
    if max(tails) > _LONG_TAIL:
        reason = f"intensities reach {max(tails):.1f} times as far above the median as their 99.5th percentile does"
        decisions.put(path, {"rule": "percentile", "lower": _WINDOW[0], "upper": _WINDOW[1]}, reason)
    else:
        decisions.put(path, {"rule": "zscore"}, "intensities without a common scale and without a long tail")


def _covariates(pooled: SiteFingerprint, task: OutcomeTask, decisions: _Decisions, notes: list[str]) -> None:
    """Mean and deviation over all sites."""
    for index, covariate in enumerate(task.covariates):
        if not isinstance(covariate, NumericCovariate):
            continue
        measure = pooled.values.get(f"{names.COVARIATE}.{covariate.name}")
        if measure is None or measure.deviation == 0:
            notes.append(f"covariate {covariate.name}: no site could tell enough of it; its scaling stays as it is")
            continue
        reason = f"over {measure.count} training cases of all sites"
        for key, value in (("mean", measure.mean), ("deviation", measure.deviation)):
            decisions.put(("covariates", index, key), float(f"{value:.6g}"), reason, f"{covariate.name}.{key}")


def _class_weights(pooled: SiteFingerprint, task: OutcomeTask, decisions: _Decisions, notes: list[str]) -> None:
    """Classes by the inverse of their share, with mean 1 over cases; of findings, absent cases to one present."""
    match task.outcome:
        case MultiClass():
            counts = pooled.groups.get(names.CLASS, {})
            hidden = [name for name in task.outcome.classes if not counts.get(name)]
            total = sum(counts.values())
            weights = [] if hidden else [total / (len(counts) * counts[name]) for name in task.outcome.classes]
            reason = f"inverse of the class's share among {total} training cases"
        case MultiLabel():
            cells = {name: pooled.groups.get(f"{names.FINDING}.{name}", {}) for name in task.outcome.findings}
            hidden = [name for name, c in cells.items() if not (c.get(names.PRESENT) and c.get(names.ABSENT))]
            weights = [] if hidden else [c[names.ABSENT] / c[names.PRESENT] for c in cells.values()]
            reason = "cases without the finding to one with it"
        case _:
            return
    if hidden:
        notes.append(f"no site could tell how often {', '.join(hidden)} is there; the class weights stay as they are")
        return
    rounded = [float(f"{min(weight, _MOST_WEIGHT):.4g}") for weight in weights]
    decisions.put(("class_weights",), rounded, reason)


def _missing(fingerprint: Fingerprint) -> list[str]:
    return [f"site {site} is not in the fingerprint: {reason}" for site, reason in sorted(fingerprint.refused.items())]


def _roundest(measure: Measure, percent: float) -> float:
    """A percentile, as the roundest number in its bin: what scanners are set to, as far as the bin tells."""
    value = measure.percentile(percent)
    if measure.histogram is None:
        return value
    bins = measure.histogram.bins
    at = int(bins.find(np.array([value]))[0])
    rounded = (float(f"{value:.{digits}g}") for digits in range(1, 5))
    return next((r for r in rounded if bins.edges[at] <= r <= bins.edges[at + 1]), float(f"{value:.4g}"))
