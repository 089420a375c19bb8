"""Made-up scans, pictures and records that fit a task: bodies with bright blobs, and values within plausible ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from radfed.imaging.volume import Volume
from radfed.task import CategoricalCovariate, ImageInput, Intensity, Limits, OutcomeTask, Window

# Axis codes, spacing over the task's, and extent over what the network sees, of each made-up scan.
SCANS = (
    ("LPS", (0.9, 1.0, 1.2), (1.1, 0.9, 1.3)),
    ("PSR", (1.25, 0.8, 1.0), (0.8, 1.2, 1.0)),
    ("RAS", (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
)
# Columns and rows of each made-up picture over what the network sees.
PICTURES = ((1.3, 1.1), (0.9, 1.4), (1.0, 1.0))
_WORLD = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
_BRIGHTEST = 1000
_MISSING_SHARE = 0.2


@dataclass(frozen=True)
class Look:
    """What a made-up scan should look like.

    Attributes:
        channels: how many.
        spacing: along R, A, S (mm).
        size: along R, A, S (voxels of that spacing).
        limits: of a plausible scan.
        intensity: a window bounds the values.
        planes: whether the network sees planes across S, so that there may be fewer than 4 of them.
    """

    channels: int
    spacing: tuple[float, float, float]
    size: tuple[int, int, int]
    limits: Limits
    intensity: Intensity
    planes: bool = False


def scan(
    look: Look,
    rng: np.random.Generator,
    axes: str,
    spacing_factors: tuple[float, float, float],
    size_factors: tuple[float, float, float],
) -> Volume:
    """A made-up scan ``(C, H, W, D)`` float32, within the limits.

    Args:
        look: what it should be like.
        rng: the only source of chance.
        axes: codes of the array's axes.
        spacing_factors: along R, A, S.
        size_factors: of the extent along R, A, S.
    """
    limits = look.limits
    affine, sides = np.eye(4), []
    affine[:3, :3] = 0.0
    for axis, code in enumerate(axes):
        world, sign = _WORLD[code]
        spacing = float(np.clip(look.spacing[world] * spacing_factors[world], limits.min_spacing, limits.max_spacing))
        wanted = look.size[world] * look.spacing[world] * size_factors[world]
        fewest = 1 if look.planes and world == 2 else 4
        least = max(fewest, math.ceil(limits.min_size_mm[world] / spacing))
        most = max(least, math.floor(limits.max_size_mm[world] / spacing))
        sides.append(int(np.clip(round(wanted / spacing), least, most)))
        affine[world, axis] = sign * spacing
    affine[:3, 3] = rng.integers(-40, 40, size=3)
    array = np.stack([tissue(rng, tuple(sides)) for _ in range(look.channels)])
    return Volume(_scaled(array, look.intensity), affine)


def picture(image: ImageInput, rng: np.random.Generator, sides: tuple[float, float], spacing: float) -> Volume:
    """A made-up plane ``(C, columns, rows, 1)`` float32 of whole numbers from 0 to 1000, or in the task's window.

    Args:
        image: what the task wants.
        rng: the only source of chance.
        sides: columns and rows over those that the network sees.
        spacing: of the pixels (mm).
    """
    columns, rows = (max(4, round(side * factor)) for side, factor in zip(image.size, sides, strict=True))
    # A little of it is brighter than 1, which a picture of 8 bits could not hold.
    array = np.minimum(np.stack([tissue(rng, (columns, rows)) for _ in image.channels]), 1.0)
    return Volume(_scaled(array[..., np.newaxis], image.intensity), np.diag([-spacing, -spacing, 1.0, 1.0]))


def tissue(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Signal between 0 and about 1: air, a body, and blobs in it."""
    places = (np.linspace(-1, 1, side) if side > 1 else np.zeros(1) for side in shape)
    centred = np.stack(np.meshgrid(*places, indexing="ij"))
    body = (centred**2).sum(axis=0) < 1.2
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), sigma=max(1.0, min(shape) / 12))
    blobs = texture > np.quantile(texture, 0.85)
    signal = 0.35 * body + 0.4 * (blobs & body)
    return np.asarray(np.clip(signal + 0.04 * rng.standard_normal(shape), 0.0, None))


def made_up_record(task: OutcomeTask, rng: np.random.Generator) -> Mapping[str, float | str]:
    """A record of the task's covariates; now and then one is missing that may be."""
    found: dict[str, float | str] = {}
    for covariate in task.covariates:
        missing = rng.random() < _MISSING_SHARE
        if isinstance(covariate, CategoricalCovariate):
            value: float | str = covariate.values[int(rng.integers(len(covariate.values)))]
        else:
            drawn = covariate.mean + covariate.deviation * rng.standard_normal()
            lower = -math.inf if covariate.lower is None else covariate.lower
            upper = math.inf if covariate.upper is None else covariate.upper
            # Three digits, as in a table.
            value = min(max(float(f"{drawn:.3g}"), lower), upper)
        if covariate.required or not missing:
            found[covariate.name] = value
    return found


def _scaled(array: NDArray[np.float64], intensity: Intensity) -> NDArray[np.float32]:
    if isinstance(intensity, Window):
        array = intensity.lower + array * (intensity.upper - intensity.lower)
    else:
        array = np.rint(array * _BRIGHTEST)
    return array.astype(np.float32)
