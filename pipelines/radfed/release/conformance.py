"""Made-up scans that fit any task, and the vectors by which a release can be tried on another machine."""

from pathlib import Path

import numpy as np

from radfed.imaging.nifti import read_image, write_image, write_mask
from radfed.imaging.volume import Volume
from radfed.inference.model import OnnxModel
from radfed.inference.segment import segment
from radfed.release.made_up import SCANS, Look, scan
from radfed.task import SegmentationTask
from radfed.weights import save_weights

CASES = ("case-1", "case-2")
VECTORS = "logits.safetensors"
_SEED = 7
# Of the scans for a task of 2 dimensions, where its limits allow so many.
_PLANES = 3


def synthetic_cases(task: SegmentationTask, seed: int = _SEED) -> tuple[Volume, ...]:
    """Scans of different size, spacing and axis order, within the task's limits; equal seeds give equal scans.

    Each is ``(C, H, W, D)`` float32: a body with a few bright blobs, and noise.
    """
    rng = np.random.default_rng(seed)
    height, width, depth = (*task.window, _PLANES)[:3]
    look = Look(
        len(task.channels), task.spacing, (height, width, depth), task.limits, task.intensity, task.dimensions == 2
    )
    return tuple(scan(look, rng, *how) for how in SCANS)


def write_vectors(folder: Path, model: OnnxModel) -> None:
    """Write two scans with the masks that the model gives, and one window with its logits.

    ``case-N.nii.gz`` and ``case-N.mask.nii.gz``; ``logits.safetensors`` holds ``window`` ``(1, C, *window)`` and
    ``logits`` ``(1, K + 1, *window)``.
    """
    task = model.segmentation
    folder.mkdir(parents=True)
    for name, case in zip(CASES, synthetic_cases(task), strict=False):
        write_image(folder / f"{name}.nii.gz", case)
        # From the file, because its header rounds the affine to float32.
        stored = read_image(folder / f"{name}.nii.gz")
        write_mask(folder / f"{name}.mask.nii.gz", segment(stored, task, model), stored.affine)
    rng = np.random.default_rng(_SEED)
    window = rng.standard_normal((1, len(task.channels), *task.window)).astype(np.float32)
    save_weights(folder / VECTORS, {"window": window, "logits": model(window)})
