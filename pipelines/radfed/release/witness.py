"""Where DICOM files put their pixels, read a second time, for the parity gate.

Nothing here is shared with the reader and the writer of ``radfed.imaging``: a mistake there must not repeat itself.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from radfed.errors import GateError
from radfed.imaging.dicom.header import PYDICOM_ERRORS

_RAS = np.diag([-1.0, -1.0, 1.0])
_LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"


@dataclass(frozen=True)
class Plane:
    """One frame.

    Attributes:
        values: ``(rows, columns)``, as stored.
        affine: ``(4, 4)``, column, row and 0 to RAS+ world coordinates (mm).
        slope: with ``intercept``, stored values to units of the modality.
        intercept: in units of the modality.
        segment: number of the segment that a frame of a binary SEG shows, else 0.
    """

    values: NDArray[np.generic]
    affine: NDArray[np.float64]
    slope: float
    intercept: float
    segment: int

    @property
    def units(self) -> NDArray[np.float64]:
        """The values in units of the modality."""
        shown: NDArray[np.float64] = self.values.astype(np.float64) * self.slope + self.intercept
        return shown

    def points(self, columns: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """World coordinates ``(N, 3)`` of pixels."""
        flat = np.stack([columns, rows, np.zeros_like(rows), np.ones_like(rows)])
        placed: NDArray[np.float64] = (self.affine @ flat)[:3].T
        return placed


def read_planes(path: Path) -> tuple[Plane, ...]:
    """Every frame of a classic or a multi-frame file (PS3.3 C.7.6.2.1.1 and C.7.6.16).

    Raises:
        GateError: it cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _planes(pydicom.dcmread(path))
        except PYDICOM_ERRORS as error:
            raise GateError(f"a file cannot be read a second time ({type(error).__name__})") from error


def _planes(dataset: pydicom.Dataset) -> tuple[Plane, ...]:
    pixels = dataset.pixel_array
    frames = pixels if int(dataset.get("NumberOfFrames", 1)) > 1 else pixels.reshape(1, *pixels.shape[-2:])
    return tuple(_plane(dataset, number, values) for number, values in enumerate(frames))


def segment_points(path: Path) -> dict[str, NDArray[np.float64]]:
    """World coordinates ``(N, 3)`` (RAS+, mm) of the voxels of each segment of a SEG, by SegmentLabel."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in dataset.SegmentSequence}
    found: dict[str, list[NDArray[np.float64]]] = {name: [np.empty((0, 3))] for name in names.values()}
    for plane in read_planes(path):
        for number, marked in _segments(plane, labelmap=dataset.SOPClassUID == _LABELMAP):
            rows, columns = np.nonzero(marked)
            if rows.size:
                found[names[number]].append(plane.points(columns, rows))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _segments(plane: Plane, labelmap: bool) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Segment numbers and where they are in a frame."""
    if not labelmap:
        yield plane.segment, plane.values != 0
        return
    for number in np.unique(plane.values):
        if number:
            yield int(number), plane.values == number


def _plane(dataset: pydicom.Dataset, frame: int, values: NDArray[np.generic]) -> Plane:
    def get(group: str, keyword: str, absent: object = None) -> object:
        for holders in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
            if holders in dataset:
                holder = dataset[holders].value[frame if holders.startswith("Per") else 0]
                if group in holder and keyword in holder[group].value[0]:
                    return holder[group].value[0][keyword].value
        return dataset.get(keyword, absent)

    position = np.array(get("PlanePositionSequence", "ImagePositionPatient"), dtype=np.float64)
    cosines = np.array(get("PlaneOrientationSequence", "ImageOrientationPatient"), dtype=np.float64)
    between_rows, between_columns = np.array(get("PixelMeasuresSequence", "PixelSpacing"), dtype=np.float64)
    affine = np.eye(4)
    affine[:3, 0] = _RAS @ cosines[:3] * between_columns
    affine[:3, 1] = _RAS @ cosines[3:] * between_rows
    affine[:3, 2] = 0.0
    affine[:3, 3] = _RAS @ position
    return Plane(
        values,
        affine,
        float(str(get("PixelValueTransformationSequence", "RescaleSlope", 1.0))),
        float(str(get("PixelValueTransformationSequence", "RescaleIntercept", 0.0))),
        int(str(get("SegmentIdentificationSequence", "ReferencedSegmentNumber", 0))),
    )
