"""Patch and batch that fit into the least GPU of the federation."""

import math
from dataclasses import dataclass

from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Fingerprint, SiteFingerprint
from radfed.task import OutcomeTask, SegmentationTask
from radfed.workflow.plan_memory import GIB, step_memory

_LEAST_BATCH, _MOST_BATCH = 2, 64
_MOST_SIDE = 320
# Of all voxels that a batch shows, as in nnU-Net: a larger one sees the same case too often in a round.
_MOST_SHARE = 0.05


@dataclass(frozen=True)
class Sizes:
    """Sizes of a training step.

    Attributes:
        batch_size: patches, or cases, in a step; None if nothing calls for another than the job's.
        roi_size: patch of a segmentation task; None to keep it.
        reason: in words.
    """

    batch_size: int | None = None
    roi_size: tuple[int, int, int] | None = None
    reason: str = ""


def plan_sizes(fingerprint: Fingerprint, task: SegmentationTask | OutcomeTask) -> Sizes:
    """Find patch and batch for the least GPU memory that a site stated."""
    memory = fingerprint.pooled.gpu_memory
    if isinstance(task, OutcomeTask) and task.image is None:
        return Sizes()
    if memory is None:
        return Sizes(reason="no site states its GPU's memory (site.yaml: gpu_memory); patch and batch stay as they are")
    match task:
        case SegmentationTask():
            return _patch(fingerprint.pooled, task, memory)
        case OutcomeTask():
            least = _least_cases(fingerprint)
            batch = _LEAST_BATCH
            while batch * 2 <= min(_MOST_BATCH, least) and step_memory(task, batch * 2) <= memory * GIB:
                batch *= 2
            return Sizes(batch, None, f"a step of {batch} cases fits the least GPU ({memory:g} GiB)")


def _patch(pooled: SiteFingerprint, task: SegmentationTask, memory: float) -> Sizes:
    shape = _median_shape(pooled, task)
    if shape is None:
        return Sizes(reason="no site told the size of its images; patch and batch stay as they are")
    stride = task.network.total_stride
    free = range(task.dimensions)
    patch = [_multiple(min(side, _MOST_SIDE), stride) if axis in free else 1 for axis, side in enumerate(shape)]
    if math.prod(patch) == stride**task.dimensions:
        patch[0] += stride
    while _needed(task, patch, _LEAST_BATCH) > memory * GIB:
        # The axis along which the patch sees most of the median image.
        able = [axis for axis in free if patch[axis] > stride]
        if len(able) < 1 or math.prod(patch) <= 2 * stride**task.dimensions:
            return Sizes(reason=f"no patch of this network fits the least GPU ({memory:g} GiB); take a smaller network")
        axis = max(able, key=lambda a: patch[a] / shape[a])
        patch[axis] -= stride
    batch = _LEAST_BATCH
    voxels = pooled.values.get(names.VOXELS)
    most = _MOST_SHARE * _resampled(shape, voxels.count if voxels else 0) / math.prod(patch)
    while batch < min(most, _MOST_BATCH) and _needed(task, patch, batch + 1) <= memory * GIB:
        batch += 1
    reason = (
        f"the median image is {' x '.join(f'{side:.0f}' for side in shape)} voxels at this spacing; a step of {batch} "
        f"patches fits the least GPU ({memory:g} GiB)"
    )
    return Sizes(batch, (patch[0], patch[1], patch[2]), reason)


def _median_shape(pooled: SiteFingerprint, task: SegmentationTask) -> tuple[float, float, float] | None:
    """Voxels along R, A, S of the median image at the task's spacing; medians of both, axis by axis."""
    sides = []
    for axis, target in zip(names.AXES, task.spacing, strict=True):
        size, spacing = pooled.values.get(f"{names.SIZE}.{axis}"), pooled.values.get(f"{names.SPACING}.{axis}")
        if size is None or spacing is None:
            return None
        sides.append(max(1.0, size.percentile(50) * spacing.percentile(50) / target))
    return sides[0], sides[1], sides[2]


def _needed(task: SegmentationTask, patch: list[int], batch: int) -> float:
    return step_memory(task, batch, tuple(patch[: task.dimensions]))


def _multiple(side: float, stride: int) -> int:
    return max(stride, math.ceil(side / stride - 0.25) * stride)


def _resampled(shape: tuple[float, float, float], cases: int) -> float:
    return math.prod(shape) * cases


def _least_cases(fingerprint: Fingerprint) -> int:
    """Training cases of the smallest site that told how many it has."""
    counts = [site.groups.get(names.SPLIT, {}).get("training") for site in fingerprint.sites.values()]
    return min((count for count in counts if count), default=_MOST_BATCH)
