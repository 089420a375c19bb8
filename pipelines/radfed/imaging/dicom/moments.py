"""The order of volumes that lie at the same places: by time, echo, b-value."""

from collections.abc import Callable, Sequence
from typing import Any

from radfed.errors import DataError
from radfed.imaging.dicom.grouping import Slice

Key = Callable[[Slice], float | int | str | None]

_SHARED: tuple[Key, ...] = (
    lambda one: one.frame.temporal,
    lambda one: one.frame.acquisition,
    lambda one: one.frame.echo,
    lambda one: one.frame.b_value,
    lambda one: one.frame.trigger,
)
"""A value that each volume has, the same in all its slices."""

_WITHIN: tuple[Key, ...] = (
    lambda one: one.instance.instance_number,
    lambda one: one.number,
    lambda one: one.frame.time,
)
"""A value that grows from volume to volume at each place."""


def order_volumes(slices: Sequence[Slice], levels: Sequence[Sequence[int]]) -> list[list[int]]:
    """Numbers of slices as ``[volume][level]``.

    Raises:
        DataError: ``overlapping_slices`` where places occur unequally often, an image is there twice, or nothing
            says which slice belongs to which volume.
    """
    counts = {len(level) for level in levels}
    if len(counts) > 1:
        twice = sum(len(level) > min(counts) for level in levels)
        raise DataError(
            "overlapping_slices",
            f"{twice} of {len(levels)} places hold more slices than the others ({min(counts)} to {max(counts)})",
        )
    (count,) = counts
    if count == 1:
        return [[level[0] for level in levels]]
    for level in levels:
        names = {(slices[number].instance.sop_instance or slices[number].instance.digest, slices[number].number)
                 for number in level}  # fmt: skip
        if len(names) < count:
            raise DataError("overlapping_slices", "the same image is there twice with different content")
    for key in (*_SHARED, *_WITHIN):
        values = [[key(slices[number]) for number in level] for level in levels]
        if any(None in at_level or "" in at_level or len(set(at_level)) < count for at_level in values):
            continue
        if key in _SHARED and any(set(at_level) != set(values[0]) for at_level in values):
            continue
        ordered = [_sorted(level, at_level) for level, at_level in zip(levels, values, strict=True)]
        return [list(volume) for volume in zip(*ordered, strict=True)]
    raise DataError(
        "overlapping_slices",
        f"{count} different slices at each place, and neither time, echo, b-value nor number tells them apart",
    )


def _sorted(level: Sequence[int], values: Sequence[object]) -> list[int]:
    """The slices of a level by their values, which are different and of one type."""
    by_value: dict[Any, int] = dict(zip(values, level, strict=True))
    return [by_value[value] for value in sorted(by_value)]
