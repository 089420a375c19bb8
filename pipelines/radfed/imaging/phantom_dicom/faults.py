"""Faults of geometry: what scanners, archives and people do to a series before it is read."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from radfed.errors import InvalidInputError
from radfed.imaging.phantom_dicom.slices import Slice

GeometryFault = Literal[
    "gap", "uneven", "tilt", "duplicate", "shuffled_numbers", "localizer", "two_acquisitions", "overlapping",
    "mixed_spacing", "mixed_orientation", "missing_rescale", "missing_geometry",
]  # fmt: skip
GEOMETRY_FAULTS: frozenset[GeometryFault] = frozenset(get_args(GeometryFault))
TILT_DEGREES = 12.0

Slices = tuple[Slice, ...]


def apply_faults(slices: Slices, faults: frozenset[str], tilt_degrees: float, rng: np.random.Generator) -> Slices:
    """Break a series of at least 4 slices; see the functions below for what each fault means."""
    if len(slices) < 4 and faults & {*_BREAK, "tilt", "shuffled_numbers"}:
        raise InvalidInputError(f"faults of geometry need at least 4 slices, got {len(slices)}")
    degrees = tilt_degrees or (TILT_DEGREES if "tilt" in faults else 0.0)
    if degrees:
        slices = tilted(slices, degrees)
    for fault, break_it in _BREAK.items():
        if fault in faults:
            slices = break_it(slices)
    if "shuffled_numbers" in faults:
        numbers = rng.permutation([piece.number for piece in slices])
        slices = tuple(
            dataclasses.replace(piece, number=int(number)) for piece, number in zip(slices, numbers, strict=True)
        )
    return slices


def tilted(slices: Slices, degrees: float) -> Slices:
    """Shear a series as a gantry tilt does: each slice lies further along its columns than the one before.

    The content moves along (linear interpolation over rows, the least value outside), so what is seen stays where it
    was in the world, and the series before the shear is the truth. The middle slice stays in place.
    """
    outside = min(int(piece.values.min()) for piece in slices)
    middle = (len(slices) - 1) / 2
    sheared = []
    for k, piece in enumerate(slices):
        rows = (k - middle) * piece.thickness * np.tan(np.radians(degrees)) / piece.spacing[0]
        moved = piece.position + rows * piece.spacing[0] * piece.orientation[3:]
        values = _sample_rows(piece.values, rows, outside)
        sheared.append(dataclasses.replace(piece, position=moved, values=values, tilt=degrees))
    return tuple(sheared)


def _sample_rows(values: NDArray[np.int32], shift: float, outside: int) -> NDArray[np.int32]:
    """``(rows, columns)`` read ``shift`` rows further down, linearly."""
    rows = np.arange(values.shape[0])
    return np.stack(
        [np.rint(np.interp(rows + shift, rows, column, left=outside, right=outside)) for column in values.T], axis=1
    ).astype(np.int32)


def _gap(slices: Slices) -> Slices:
    """An inner slice is missing."""
    middle = len(slices) // 2
    return slices[:middle] + slices[middle + 1 :]


def _uneven(slices: Slices) -> Slices:
    """The upper half lies half a slice further on."""
    step = (slices[1].position - slices[0].position) / 2
    middle = len(slices) // 2
    moved = tuple(dataclasses.replace(piece, position=piece.position + step) for piece in slices[middle:])
    return slices[:middle] + moved


def _two_acquisitions(slices: Slices) -> Slices:
    """The same places once more, with slightly other values and another acquisition number."""
    again = (dataclasses.replace(_changed(piece), number=piece.number + len(slices), acquisition=2) for piece in slices)
    return (*slices, *again)


def _overlapping(slices: Slices) -> Slices:
    """One place holds two different slices."""
    return (*slices, dataclasses.replace(_changed(slices[len(slices) // 2]), number=len(slices) + 1))


def _mixed_spacing(slices: Slices) -> Slices:
    """One slice has larger pixels."""
    rows, columns = slices[1].spacing
    return _with(slices, 1, spacing=(rows * 1.1, columns * 1.1))


def _mixed_orientation(slices: Slices) -> Slices:
    """One slice is turned around its rows by a degree."""
    row, column = slices[1].orientation[:3], slices[1].orientation[3:]
    angle = np.radians(1.0)
    turned = np.cos(angle) * column + np.sin(angle) * np.cross(row, column)
    return _with(slices, 1, orientation=np.concatenate([row, turned]))


def _missing_rescale(slices: Slices) -> Slices:
    """One slice does not say slope and intercept."""
    return _with(slices, 1, rescaled=False)


def _changed(piece: Slice) -> Slice:
    """Another content that is stored as easily: pairs of rows swapped."""
    rows = piece.values.shape[0]
    order = np.arange(rows) ^ 1
    order[order >= rows] = rows - 1
    return dataclasses.replace(piece, values=np.ascontiguousarray(piece.values[order]))


def _with(slices: Sequence[Slice], index: int, **changes: object) -> Slices:
    changed = list(slices)
    changed[index] = dataclasses.replace(changed[index], **changes)  # type: ignore[arg-type]  # checked by the callers
    return tuple(changed)


_BREAK: dict[str, Callable[[Slices], Slices]] = {
    "gap": _gap,
    "uneven": _uneven,
    "mixed_spacing": _mixed_spacing,
    "mixed_orientation": _mixed_orientation,
    "missing_rescale": _missing_rescale,
    "overlapping": _overlapping,
    "two_acquisitions": _two_acquisitions,
}
