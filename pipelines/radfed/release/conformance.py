"""Made-up scans that fit any task, and the vectors by which a release can be tried on another machine."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radfed.imaging.nifti import read_image, write_image, write_mask
from radfed.imaging.volume import Volume
from radfed.inference.model import OnnxModel
from radfed.inference.segment import segment
from radfed.task import TaskSpec, Window
from radfed.weights import save_weights

CASES = ("case-1", "case-2")
VECTORS = "logits.safetensors"
_SEED = 7
# Axis codes, spacing over the task's, and extent over the window's, of each made-up scan.
_SCANS = (
    ("LPS", (0.9, 1.0, 1.2), (1.1, 0.9, 1.3)),
    ("PSR", (1.25, 0.8, 1.0), (0.8, 1.2, 1.0)),
    ("RAS", (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
)
_WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def synthetic_cases(task: TaskSpec, seed: int = _SEED) -> tuple[Volume, ...]:
    """Scans of different size, spacing and axis order, within the task's limits; equal seeds give equal scans.

    Each is ``(C, H, W, D)`` float32: a body with a few bright blobs, and noise.
    """
    rng = np.random.default_rng(seed)
    return tuple(_scan(task, rng, *scan) for scan in _SCANS)


def _scan(
    task: TaskSpec,
    rng: np.random.Generator,
    axes: str,
    spacing_factors: tuple[float, float, float],
    size_factors: tuple[float, float, float],
) -> Volume:
    limits = task.limits
    affine, sides = np.eye(4), []
    affine[:3, :3] = 0.0
    for axis, code in enumerate(axes):
        world, sign = _WORLD[code]
        spacing = float(np.clip(task.spacing[world] * spacing_factors[world], limits.min_spacing, limits.max_spacing))
        wanted = task.roi_size[world] * task.spacing[world] * size_factors[world]
        least = max(4, math.ceil(limits.min_size_mm[world] / spacing))
        most = max(least, math.floor(limits.max_size_mm[world] / spacing))
        sides.append(int(np.clip(round(wanted / spacing), least, most)))
        affine[world, axis] = sign * spacing
    affine[:3, 3] = rng.integers(-40, 40, size=3)
    array = np.stack([_tissue(rng, tuple(sides)) for _ in task.channels])
    if isinstance(task.intensity, Window):
        lower, upper = task.intensity.lower, task.intensity.upper
        array = lower + array * (upper - lower)
    else:
        array = np.rint(array * 1000)
    return Volume(array.astype(np.float32), affine)


def _tissue(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Signal between 0 and about 1: air, a body, and blobs in it."""
    centred = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij"))
    body = (centred**2).sum(axis=0) < 1.2
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), sigma=max(1.0, min(shape) / 12))
    blobs = texture > np.quantile(texture, 0.85)
    signal = 0.35 * body + 0.4 * (blobs & body)
    return np.asarray(np.clip(signal + 0.04 * rng.standard_normal(shape), 0.0, None))


def write_vectors(folder: Path, model: OnnxModel) -> None:
    """Write two scans with the masks that the model gives, and one window with its logits.

    ``case-N.nii.gz`` and ``case-N.mask.nii.gz``; ``logits.safetensors`` holds ``window`` ``(1, C, *roi)`` and
    ``logits`` ``(1, K + 1, *roi)``.
    """
    folder.mkdir(parents=True)
    for name, case in zip(CASES, synthetic_cases(model.task), strict=False):
        write_image(folder / f"{name}.nii.gz", case)
        # From the file, because its header rounds the affine to float32.
        stored = read_image(folder / f"{name}.nii.gz")
        write_mask(folder / f"{name}.mask.nii.gz", segment(stored, model.task, model), stored.affine)
    rng = np.random.default_rng(_SEED)
    window = rng.standard_normal((1, len(model.task.channels), *model.task.roi_size)).astype(np.float32)
    save_weights(folder / VECTORS, {"window": window, "logits": model(window)})
