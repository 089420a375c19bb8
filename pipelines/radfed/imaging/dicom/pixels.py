"""Decoded and rescaled voxels of many slices in one array: decoded one by one, never held twice."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.decode import check_length, modality_lut, stored_frames
from radfed.imaging.dicom.grouping import Slice
from radfed.imaging.nifti import MAX_VOXELS

Place = tuple[int, int]
"""Volume and level of a slice."""

_NEEDS_RESCALE = {"CT", "PT"}
_MEASURED = {"MONOCHROME1", "MONOCHROME2"}


def check_pixels(slices: Sequence[Slice]) -> None:
    """Refuse what is no measured intensity, and what has no units.

    Raises:
        DataError: ``unsupported_pixels``, ``undecodable`` or ``missing_rescale``.
    """
    for instance in {one.instance.digest: one.instance for one in slices}.values():
        if instance.samples > 1 or instance.photometric not in _MEASURED:
            kind = instance.photometric or "unknown"
            raise DataError("unsupported_pixels", f"{instance.samples} sample(s) a pixel, {kind:.16}; wanted one grey")
        if instance.float_pixels or instance.bits_allocated not in (8, 16, 32):
            kind = "floating point" if instance.float_pixels else f"{instance.bits_allocated} bits"
            raise DataError("unsupported_pixels", f"pixels of {kind}; wanted whole numbers of 8, 16 or 32 bits")
        if not 0 <= instance.bits_stored <= instance.bits_allocated or instance.signed not in (0, 1):
            raise DataError("undecodable", f"{instance.bits_stored} bits stored in {instance.bits_allocated}")
        check_length(instance)
    # Where some slices are rescaled, the others cannot be read as they are: their values would not compare.
    scaled = any(one.frame.slope is not None for one in slices)
    for one in slices:
        slope, intercept = one.frame.slope, one.frame.intercept
        needed = (scaled or one.instance.modality in _NEEDS_RESCALE) and not one.instance.modality_lut
        if (needed and (slope is None or intercept is None)) or slope == 0:
            got = "slope 0" if slope == 0 else "no slope or no intercept"
            raise DataError("missing_rescale", f"a slice has {got}: its values have no known units")


def assemble(slices: Sequence[Slice], places: Sequence[Place], shape: tuple[int, int, int, int]) -> NDArray[Any]:
    """Decode slices into ``(C, D, Rows, Columns)``, each at its place; an edge of rows, columns or levels stays 0.

    int16, or int32 where that does not hold the values, if every rescale is whole; else float32.

    Raises:
        DataError: ``undecodable``.
    """
    voxels = int(np.prod(shape, dtype=np.float64))
    if voxels > MAX_VOXELS:
        raise DataError("undecodable", f"{voxels} voxels, allowed are {MAX_VOXELS}")
    whole = all(_is_whole(one) for one in slices)
    target: NDArray[Any] = np.zeros(shape, dtype=np.int16 if whole else np.float32)
    wanted: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(slices):
        wanted[one.instance.digest].append(index)
    for indices in wanted.values():
        instance = slices[indices[0]].instance
        by_number = {slices[index].number: index for index in indices}
        for number, stored in stored_frames(instance, list(by_number)):
            one, (volume, level) = slices[by_number[number]], places[by_number[number]]
            target = _widen(target, stored, one)
            _rescale(stored, one, target[volume, level, : instance.rows, : instance.columns])
    return target


def factors(one: Slice) -> tuple[float, float]:
    """Slope and intercept; a modality that needs none may have none."""
    slope, intercept = one.frame.slope, one.frame.intercept
    return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)


def _is_whole(one: Slice) -> bool:
    return not one.instance.modality_lut and all(factor.is_integer() and abs(factor) < 2**31 for factor in factors(one))


def _widen(target: NDArray[Any], stored: NDArray[Any], one: Slice) -> NDArray[Any]:
    """The target, in a wider type if the slice's rescaled values do not fit."""
    if target.dtype == np.float32:
        return target
    slope, intercept = (int(factor) for factor in factors(one))
    ends = [int(value) * slope + intercept for value in (stored.min(), stored.max())]
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        if min(ends) >= limits.min and max(ends) <= limits.max:
            return target if np.can_cast(dtype, target.dtype) else target.astype(dtype)
    return target.astype(np.float32)


def _rescale(stored: NDArray[Any], one: Slice, target: NDArray[Any]) -> None:
    """Write a slice in units of its modality."""
    slope, intercept = factors(one)
    if one.instance.modality_lut:
        target[...] = modality_lut(one.instance.path, stored)
    elif slope == 1 and intercept == 0:
        target[...] = stored
    elif target.dtype != np.float32:
        # Integer sums and products wrap round, and the results fit: wrapped operands give exact values.
        wrapped = [np.array(int(factor)).astype(target.dtype) for factor in (slope, intercept)]
        values = stored if slope == 1 else np.multiply(stored, wrapped[0], dtype=target.dtype, casting="unsafe")
        np.add(values, wrapped[1], out=target, dtype=target.dtype, casting="unsafe")
    else:
        with np.errstate(over="ignore"):
            target[...] = stored * np.float64(slope) + intercept
