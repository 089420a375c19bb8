"""Which frames belong together: the parts of a series that can each be one volume, or one volume over time."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radfed.imaging.dicom.frames import Frame
from radfed.imaging.dicom.geometry import is_regular
from radfed.imaging.dicom.header import Instance

PROJECTIONS = {
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
}
"""Images of one view each, which make no stack."""

SEPARATE_ORIENTATION = 0.05
"""Direction cosines that differ more (about 3 degrees) are another stack on purpose; less is one that moved."""

SURVEY_SLICES = 20
"""A series that looks along several axes is a scout if it has no more slices along each."""

MANY_ORIENTATIONS = 64
"""A series with more is no set of stacks; it stays one, to be refused."""

_SIGNIFICANT_IMAGE_TYPES = {"CT": 3, "PT": 2}
_SCOUTS = {"LOCALIZER", "SCOUT"}


class Slice(NamedTuple):
    """One frame of an instance."""

    instance: Instance
    number: int

    @property
    def frame(self) -> Frame:
        """Its place, rescale and moment."""
        return self.instance.details[self.number]


def split(instances: Iterable[Instance]) -> list[list[Slice]]:
    """Divide the images of one SeriesInstanceUID into volumes, the largest first.

    What always divides: modality, SOP class, frame of reference, shape, kind of image (ImageType or FrameType),
    stack, orientation. Of ImageType the first three values count for CT and the first two for PET: vendors put notes
    on the processing of single slices behind them. Slice thickness divides only where that makes every part regular
    and the whole is not; image type, acquisition, echo and time only where slices also overlap.
    """
    slices = [Slice(instance, number) for instance in instances for number in range(len(instance.details))]
    parts = []
    for kind in _by(slices, _kind):
        if kind[0].instance.sop_class in PROJECTIONS:
            parts.extend(_by(kind, lambda one: one.instance.digest))
            continue
        for stack in _by_orientation(kind):
            parts.extend(_divide(stack))
    return sorted(parts, key=lambda part: (-len(part), min((one.instance.digest, one.number) for one in part)))


def is_localizer(one: Slice) -> bool:
    """Whether an image says that it is a scout."""
    return any(scout in value for value in one.frame.image_type for scout in _SCOUTS)


def is_survey(slices: Sequence[Slice]) -> bool:
    """Whether images look along at least two axes at right angles, few along each: a scout that does not say so."""
    normals: list[tuple[NDArray[np.float64], int]] = []
    for orientation, count in Counter(one.frame.orientation for one in slices).items():
        directions = np.array(orientation or (0.0,) * 6)
        normal = np.cross(directions[:3], directions[3:])
        for at, (known, before) in enumerate(normals):
            if abs(float(known @ normal)) > 1 - SEPARATE_ORIENTATION:
                normals[at] = (known, before + count)
                break
        else:
            normals.append((normal, count))
            if len(normals) > 3:
                return False
    crossed = [abs(float(normals[0][0] @ normal)) < SEPARATE_ORIENTATION for normal, _ in normals[1:]]
    return bool(crossed) and all(crossed) and max(count for _, count in normals) <= SURVEY_SLICES


def is_mosaic(one: Slice) -> bool:
    """Whether a classic Siemens image holds all its slices as tiles."""
    return "MOSAIC" in one.frame.image_type and one.instance.frames == 1


def _kind(one: Slice) -> Hashable:
    instance, frame = one.instance, one.frame
    values = frame.image_type[: _SIGNIFICANT_IMAGE_TYPES.get(instance.modality, 99)]
    shape = (instance.rows, instance.columns, instance.samples, instance.photometric)
    place = (instance.frame_of_reference, frame.stack)
    return (instance.study, instance.modality, instance.sop_class, shape, place, is_localizer(one), values)


def _thickness(one: Slice) -> Hashable:
    return one.frame.thickness


_MOMENTS: tuple[Callable[[Slice], Hashable], ...] = (
    lambda one: one.frame.image_type,
    lambda one: one.frame.acquisition,
    lambda one: one.frame.echo,
    lambda one: one.frame.b_value,
    lambda one: one.frame.temporal,
    lambda one: one.frame.trigger,
    lambda one: one.instance.series_description,
)


def _divide(stack: list[Slice]) -> list[list[Slice]]:
    """One stack as it is if it is regular, else the first division of which every part is."""
    if is_mosaic(stack[0]) or is_regular([one.frame for one in stack]):
        return [stack]
    overlaps = len({one.frame.position for one in stack}) < len(stack)
    # Acquisitions that do not overlap are one scan with a hole more likely than two scans: they are not divided.
    for key in (_thickness, *(_MOMENTS if overlaps else ())):
        parts = _by(stack, key)
        if len(parts) > 1 and all(len(part) > 2 and is_regular([one.frame for one in part]) for part in parts):
            return parts
    return [stack]


def _by_orientation(slices: list[Slice]) -> list[list[Slice]]:
    """Stacks of nearly equal orientation. Where each would be a single slice they stay one, to be refused as such."""
    stacks: list[tuple[NDArray[np.float64], list[Slice]]] = []
    for one in slices:
        directions = np.array(one.frame.orientation or (0.0,) * 6)
        for reference, stack in stacks:
            if np.abs(reference - directions).max() <= SEPARATE_ORIENTATION:
                stack.append(one)
                break
        else:
            stacks.append((directions, [one]))
        if len(stacks) > MANY_ORIENTATIONS:
            return [slices]
    single = len(stacks) > 1 and all(len(stack) == 1 for _, stack in stacks)
    return [slices] if single or is_survey(slices) else [stack for _, stack in stacks]


def _by(slices: Sequence[Slice], key: Callable[[Slice], Hashable]) -> list[list[Slice]]:
    groups: dict[Hashable, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[key(one)].append(one)
    return list(groups.values())
