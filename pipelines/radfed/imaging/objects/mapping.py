"""Structures to the label values of a task: by coded term, then by name."""

import re
from collections.abc import Sequence

import numpy as np

from radfed.errors import DataError
from radfed.imaging.objects.codes import same_term
from radfed.imaging.objects.structure import Structure
from radfed.imaging.volume import Volume
from radfed.task import Label, SegmentationTask


def to_label(
    structures: Sequence[Structure], grid: Volume, task: SegmentationTask | None
) -> tuple[Volume, dict[int, str]]:
    """Make one label map ``(1, H, W, D)`` of structures, and say what its values mean.

    With a task, a structure is the label whose coded term it has. If several labels have that term, or none has, it
    is the label that it is called by, name or alias, whatever the case, spaces and dashes. Structures that are none
    of the task's are left out; several that are the same label are joined. Without a task, structures are numbered
    from 1 in the order of their numbers.

    Returns:
        The map on the grid, uint8 where the values fit, else int16, and the names of its values.

    Raises:
        DataError: ``unmapped_label`` (no structure, none of the task's, or one that could be several of them) or
            ``overlapping_labels``.
    """
    if not structures:
        raise DataError("unmapped_label", "the object holds no structure with an area; draw one, or leave it out")
    named = _numbered(structures) if task is None else _mapped(structures, task)
    values = np.zeros(grid.shape, dtype=np.uint8 if max(value for _, value, _ in named) <= 255 else np.int16)
    names: dict[int, str] = {}
    for structure, value, name in named:
        if structure.shape != grid.shape:
            raise DataError("shape_mismatch", f"a structure is on a grid of {structure.shape}, not of {grid.shape}")
        box = values[structure.box]
        shared = structure.crop & (box != 0) & (box != value)
        if shared.any():
            other = names[int(box[shared][0])]
            raise DataError(
                "overlapping_labels", f"{other} and {name} share {int(shared.sum())} voxels; a voxel has one label"
            )
        box[structure.crop] = value
        names[value] = name
    return Volume(values[np.newaxis], grid.affine), names


def _numbered(structures: Sequence[Structure]) -> list[tuple[Structure, int, str]]:
    in_order = sorted(structures, key=lambda structure: structure.number)
    return [(structure, value, structure.name) for value, structure in enumerate(in_order, start=1)]


def _mapped(structures: Sequence[Structure], task: SegmentationTask) -> list[tuple[Structure, int, str]]:
    mapped = [(structure, _find(structure, task)) for structure in structures]
    known = [(structure, label.value, label.name) for structure, label in mapped if label is not None]
    if not known:
        wanted = ", ".join(label.name for label in task.labels)
        # What the structures are called stays unsaid: people write names and remarks there.
        raise DataError(
            "unmapped_label",
            f"none of {len(structures)} structures is one of the task's ({wanted}) by code, name or alias; "
            "add its name to the aliases of a label",
        )
    return known


def _find(structure: Structure, task: SegmentationTask) -> Label | None:
    """The task's label that a structure is."""
    coded = [
        label
        for label in task.labels
        if label.code is not None and structure.code is not None and same_term(label.code, structure.code)
    ]
    if len(coded) == 1:
        return coded[0]
    called = [label for label in coded or task.labels if _plain(structure.name) in _names(label)]
    if len(called) > 1 or (coded and not called):
        fitting = ", ".join(label.name for label in called or coded)
        raise DataError(
            "unmapped_label", f"a structure could be each of {fitting}, and its name does not decide; add an alias"
        )
    return called[0] if called else None


def _names(label: Label) -> set[str]:
    return {_plain(name) for name in (label.name, *label.aliases)}


def _plain(name: str) -> str:
    """A name without case, spaces, underscores and dashes."""
    return re.sub(r"[\s_\-]+", "", name.casefold())
