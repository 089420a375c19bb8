"""A structure that someone drew, and what a DICOM object says about the images it was drawn on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from radfed.task import Code


@dataclass(frozen=True)
class References:
    """The images that a SEG or RTSTRUCT was drawn on.

    Attributes:
        series: SeriesInstanceUIDs.
        instances: SOPInstanceUIDs.
        frame_of_reference: FrameOfReferenceUID, empty if it states none.
    """

    series: frozenset[str]
    instances: frozenset[str]
    frame_of_reference: str


@dataclass(frozen=True, eq=False)
class Structure:
    """One segment of a SEG or one region of an RTSTRUCT, on the grid of a volume.

    Only the box around its voxels is kept: a hundred organs of a large scan would not fit into memory otherwise.

    Attributes:
        name: as the object calls it.
        code: coded term, if it has one.
        number: SegmentNumber or ROINumber.
        shape: voxels ``(H, W, D)`` of the volume.
        corner: index of the box's first voxel.
        crop: the voxels of the box.
        steps: what was done beyond plain reading, for the record of the case.
    """

    name: str
    code: Code | None
    number: int
    shape: tuple[int, int, int]
    corner: tuple[int, int, int]
    crop: NDArray[np.bool_]
    steps: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, code: Code | None, number: int, mask: NDArray[np.bool_]) -> Self:
        """A structure from its whole mask ``(H, W, D)``."""
        height, width, depth = mask.shape
        corner, crop = crop_to_content(mask)
        return cls(name, code, number, (height, width, depth), corner, crop)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The whole mask ``(H, W, D)``."""
        mask = np.zeros(self.shape, dtype=np.bool_)
        mask[self.box] = self.crop
        return mask

    @property
    def box(self) -> tuple[slice, ...]:
        """Where the box lies in the volume."""
        return tuple(slice(start, start + side) for start, side in zip(self.corner, self.crop.shape, strict=True))


def crop_to_content(mask: NDArray[np.bool_]) -> tuple[tuple[int, int, int], NDArray[np.bool_]]:
    """The first voxel and a copy of the smallest box ``(H, W, D)`` that holds every true voxel; empty if none is."""
    starts, stops = [], []
    for axis in range(3):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        starts.append(int(filled[0]) if len(filled) else 0)
        stops.append(int(filled[-1]) + 1 if len(filled) else 0)
    crop = mask[tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))].copy()
    return (starts[0], starts[1], starts[2]), crop
