"""The one preprocessing: what the network sees is made here and nowhere else."""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.preprocessing.grid import Grid
from radfed.preprocessing.intensity import normalise
from radfed.task import SegmentationTask

# Raise this when the arithmetic below changes, so that cached arrays are made anew.
VERSION = 1


def prepare(
    image: NDArray[np.float32], affine: NDArray[np.float64], task: SegmentationTask
) -> tuple[NDArray[np.float32], Grid]:
    """Bring an image to the task's orientation, spacing and intensity scale.

    Args:
        image: ``(C, H, W, D)`` as stored.
        affine: ``(4, 4)``, voxel index to RAS+ world (mm).
        task: the contract.

    Returns:
        The prepared image ``(C, H', W', D')`` and the grid that leads back.

    Raises:
        DataError: another number of channels than the task has, or voxels that are no numbers.
    """
    if image.shape[0] != len(task.channels):
        raise DataError(
            "channel_mismatch",
            f"the image has {image.shape[0]} channel(s), the task {task.name} needs {len(task.channels)}: "
            + ", ".join(channel.name for channel in task.channels),
        )
    if not np.isfinite(image).all():
        raise DataError("non_finite", "the image has voxels that are NaN or infinite; export it again")
    height, width, depth = image.shape[1:]
    grid = Grid.of((height, width, depth), affine, task)
    return _normalise(grid.image_to_task(image), task), grid


def _normalise(image: NDArray[np.float32], task: SegmentationTask) -> NDArray[np.float32]:
    """A case has one intensity scale; of a task of 2 dimensions each plane has its own, so that it may come alone."""
    if task.dimensions == 3:
        return normalise(image, task.intensity)
    planes = [normalise(plane, task.intensity) for plane in np.moveaxis(image, -1, 0)]
    return np.ascontiguousarray(np.stack(planes, axis=-1))


def prepare_label(label: NDArray[np.integer], affine: NDArray[np.float64], task: SegmentationTask) -> NDArray[np.uint8]:
    """Bring label values ``(H, W, D)`` to the task's grid as class indices, 0 for background.

    Raises:
        DataError: a voxel value that the task does not list.
    """
    height, width, depth = label.shape
    table = np.full(256, 255, dtype=np.uint8)
    for index, value in enumerate((0, *task.label_values)):
        table[value] = index
    in_range = (label >= 0) & (label <= 255)
    classes = table[np.where(in_range, label, 255).astype(np.uint8)]
    if not in_range.all() or (classes == 255).any():
        unknown = sorted(set(np.unique(label).tolist()) - {0, *task.label_values})
        raise DataError("unknown_label", f"label values {unknown}, but the task allows 0 and {task.label_values}")
    return Grid.of((height, width, depth), affine, task).label_to_task(classes)


def preprocessing_digest(task: SegmentationTask) -> str:
    """SHA-256 over all that decides a prepared array besides the case: the key of the cache."""
    names = {"channels", "labels", "dimensions", "orientation", "spacing", "intensity"}
    decides = task.model_dump(mode="json", include=names)
    canonical = json.dumps({"version": VERSION, **decides}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
