"""A volume in, a mask on the same grid out: the line that torch and ONNX Runtime share."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radfed.imaging.volume import Volume
from radfed.inference.sliding_window import BATCH, Predictor, SideBySide, slide
from radfed.preprocessing.grid import Grid
from radfed.preprocessing.pipeline import prepare
from radfed.task import SegmentationTask


def class_scores(
    volume: Volume,
    task: SegmentationTask,
    predict: Predictor,
    batch: int = BATCH,
    side_by_side: SideBySide | None = None,
) -> tuple[NDArray[np.float32], Grid]:
    """Logits ``(K + 1, H', W', D')`` on the task's grid, and the grid that leads back.

    Raises:
        DataError: the volume does not fit the task.
    """
    image, grid = prepare(volume.array.astype(np.float32, copy=False), volume.affine, task)
    return slide(image, predict, task.window, task.overlap, batch, side_by_side), grid


def segment(
    volume: Volume,
    task: SegmentationTask,
    predict: Predictor,
    batch: int = BATCH,
    side_by_side: SideBySide | None = None,
) -> NDArray[np.uint8]:
    """Mask ``(H, W, D)`` of the task's label values on the volume's own grid.

    Args:
        volume: the image.
        task: the contract.
        predict: the network.
        batch: windows a call of ``predict``.
        side_by_side: computes calls of ``predict`` at the same time.

    Raises:
        DataError: the volume does not fit the task.
    """
    scores, grid = class_scores(volume, task, predict, batch, side_by_side)
    classes = grid.scores_to_source(scores).argmax(axis=0)
    mask: NDArray[np.uint8] = np.array((0, *task.label_values), dtype=np.uint8)[classes]
    if task.postprocessing.keep_largest_component:
        mask = _keep_largest(mask) if task.dimensions == 3 else _keep_largest_of_planes(mask, grid)
    return mask


def _keep_largest_of_planes(mask: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    planes = np.moveaxis(mask, grid.last_axis, 0)
    return np.moveaxis(np.stack([_keep_largest(plane) for plane in planes]), 0, grid.last_axis)


def _keep_largest(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest connected part of each label in a mask of any number of axes."""
    kept = np.zeros_like(mask)
    for value in np.unique(mask[mask > 0]):
        parts, count = ndimage.label(mask == value)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        kept[parts == 1 + int(sizes.argmax())] = value
    return kept
