"""The image of an outcome task as its network sees it: orientation, size, intensity. Made here and nowhere else."""

import hashlib
import json
from functools import lru_cache

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from radfed.errors import DataError, InvalidInputError
from radfed.preprocessing.grid import SPACING_TOLERANCE
from radfed.preprocessing.intensity import normalise
from radfed.preprocessing.resize import resize
from radfed.task import ImageInput, OutcomeTask

# Raise this when the arithmetic below changes, so that cached arrays are made anew.
VERSION = 1

_DECIDES = {"dimensions", "size", "fit", "orientation", "spacing", "intensity"}


def prepare_image(image: NDArray[np.float32], affine: NDArray[np.float64], task: OutcomeTask) -> NDArray[np.float32]:
    """Bring an image to the task's orientation, size and intensity scale.

    A plane, and a volume of a task without ``spacing``, is resized as a whole with antialiasing: ``pad`` keeps its
    proportions in mm, ``stretch`` does not. A volume of a task with ``spacing`` is resampled to it, then cropped or
    padded about its centre. Intensities are scaled before anything is cropped or padded, and padding is dark: the least
    value of its channel.

    Args:
        image: ``(C, H, W, D)`` as stored; a plane has D = 1.
        affine: ``(4, 4)``, voxel index to RAS+ world (mm).
        task: the contract.

    Returns:
        ``(C, *size)``.

    Raises:
        DataError: ``channel_mismatch``, ``non_finite`` or ``not_a_plane``.
        InvalidInputError: the task has no image.
    """
    wanted = task.image
    if wanted is None:
        raise InvalidInputError(f"the task {task.name} has no image to prepare")
    if image.shape[0] != len(wanted.channels):
        raise DataError(
            "channel_mismatch",
            f"the image has {image.shape[0]} channel(s), the task {task.name} needs {len(wanted.channels)}: "
            + ", ".join(channel.name for channel in wanted.channels),
        )
    image = np.asarray(image, dtype=np.float32)
    if not np.isfinite(image).all():
        raise DataError("non_finite", "the image has voxels that are NaN or infinite; export it again")
    return _centred(normalise(_sized(image, affine, wanted), wanted.intensity), wanted.size)


def picture_digest(task: OutcomeTask) -> str:
    """SHA-256 over all that decides a prepared image besides the case: the key of the cache."""
    if task.image is None:
        raise InvalidInputError(f"the task {task.name} has no image to prepare")
    decides = task.image.model_dump(mode="json", include=_DECIDES)
    canonical = json.dumps({"picture": VERSION, **decides}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sized(image: NDArray[np.float32], affine: NDArray[np.float64], wanted: ImageInput) -> NDArray[np.float32]:
    """The image in the task's orientation, with as many pixels as its whole extent has on the task's grid."""
    order, steps, spacing = _way(affine.tobytes(), wanted.orientation)
    axes = (0, 1 + order[0], 1 + order[1], 1 + order[2])
    oriented = image.transpose(axes)[:, :: steps[0], :: steps[1], :: steps[2]]
    if wanted.dimensions == 2:
        if oriented.shape[3] != 1:
            raise DataError(
                "not_a_plane", f"{oriented.shape[3]} slices, where the task {wanted.dimensions}D image is one plane"
            )
        oriented = oriented[..., 0]
    return resize(oriented, _target(oriented.shape[1:], spacing, wanted))


def _target(shape: tuple[int, ...], spacing: tuple[float, float, float], wanted: ImageInput) -> tuple[int, ...]:
    """Pixels of the whole image: those of the task's spacing; or its size, less along some axes to keep proportions."""
    if wanted.spacing is not None:
        return tuple(
            n if abs(mm - to) <= SPACING_TOLERANCE * to else max(1, round(n * mm / to))
            for n, mm, to in zip(shape, spacing, wanted.spacing, strict=True)
        )
    if wanted.fit == "stretch" or shape == wanted.size:
        # An image of the right size is never resampled, not even for pixels that are not quite square.
        return wanted.size
    lengths = [side * mm for side, mm in zip(shape, spacing, strict=False)]
    scale = min(size / length for size, length in zip(wanted.size, lengths, strict=True))
    return tuple(min(size, max(1, round(length * scale))) for size, length in zip(wanted.size, lengths, strict=True))


def _centred(image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Crop or pad ``(C, ...)`` about its centre."""
    if image.shape[1:] == size:
        return np.ascontiguousarray(image)
    space = tuple(range(1, image.ndim))
    centred = np.empty((image.shape[0], *size), dtype=np.float32)
    centred[...] = image.min(axis=space, keepdims=True)
    there, here = zip(*(_middle(got, wanted) for got, wanted in zip(image.shape[1:], size, strict=True)), strict=True)
    centred[(slice(None), *there)] = image[(slice(None), *here)]
    return centred


def _middle(got: int, wanted: int) -> tuple[slice, slice]:
    """Where in a target axis the pixels of a source axis go, and which these are."""
    shared = min(got, wanted)
    there, here = (wanted - shared) // 2, (got - shared) // 2
    return slice(there, there + shared), slice(here, here + shared)


@lru_cache(maxsize=256)
def _way(affine: bytes, codes: str) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[float, float, float]]:
    """To an orientation: which source axis each target axis is, its direction, and its spacing (mm)."""
    matrix = np.frombuffer(affine, dtype=np.float64).reshape(4, 4)
    turn = orientations.ornt_transform(orientations.io_orientation(matrix), orientations.axcodes2ornt(tuple(codes)))
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    first, second, third = (int(axis) for axis in np.argsort(turn[:, 0]))
    order = (first, second, third)
    steps = (int(turn[first, 1]), int(turn[second, 1]), int(turn[third, 1]))
    return order, steps, (float(lengths[first]), float(lengths[second]), float(lengths[third]))
