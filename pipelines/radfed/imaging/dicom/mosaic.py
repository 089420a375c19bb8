"""Siemens mosaics: a volume whose slices are tiles of one image, and where the headers say that it lies."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.csa import csa_values
from radfed.imaging.dicom.geometry import LPS_TO_RAS
from radfed.imaging.dicom.grouping import Slice, is_mosaic
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.unwarned import unwarned

_PERPENDICULAR = 0.999
"""Least cosine between the slice normal of Siemens' header and that of the image plane, whichever way they point."""


@dataclass(frozen=True)
class Mosaic:
    """One mosaic.

    Attributes:
        shape: tile columns, tile rows, slices.
        affine: ``(4, 4)``, index (column, row, slice) to RAS+ mm; slices grow along the normal of the image plane.
        backwards: whether the tiles are stored against that normal.
        slope: with ``intercept``, stored values to the image's.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    backwards: bool
    slope: float
    intercept: float

    def voxels(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The tiles of a decoded mosaic ``(Rows, Columns)`` as a rescaled volume ``(H, W, D)``."""
        columns, rows, count = self.shape
        down, across = stored.shape[0] // rows, stored.shape[1] // columns
        tiles = stored.reshape(down, rows, across, columns).transpose(3, 1, 0, 2).reshape(columns, rows, -1)
        tiles = tiles[:, :, :count]
        tiles = tiles[:, :, ::-1] if self.backwards else tiles
        return tiles if (self.slope, self.intercept) == (1.0, 0.0) else tiles * self.slope + self.intercept


def mosaic_of(one: Slice) -> Mosaic:
    """Where a mosaic's tiles lie, from the DICOM attributes and Siemens' own header.

    ImagePositionPatient is that of an image as large as the mosaic around the first slice's centre; the first tile
    begins half the difference further in. SliceNormalVector says in which direction the tiles follow each other:
    without it left and right, or head and feet, may be exchanged, and the mosaic is refused.

    Raises:
        DataError: ``mosaic``, ``missing_geometry`` or ``converter_mismatch``.
    """
    if not is_mosaic(one):
        raise DataError("mosaic", "the image is no Siemens mosaic; dcm2niix is asked for mosaics only")
    frame, instance = one.frame, one.instance
    private = _private_values(instance.path)
    if frame.position is None or frame.orientation is None or frame.pixel_spacing is None:
        raise DataError("missing_geometry", "the mosaic has no position, orientation or pixel spacing")
    distance = frame.between or _number(private, "SpacingBetweenSlices")
    if not distance or distance <= 0:
        raise DataError("missing_geometry", "the mosaic does not say how far its slices lie apart")
    columns, rows, count = _tiles(instance.rows, instance.columns, private)
    along_rows, along_columns = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    down, across = frame.pixel_spacing
    first = np.array(frame.position)
    first = first + along_rows * across * (instance.columns - columns) / 2
    first = first + along_columns * down * (instance.rows - rows) / 2
    normal = np.cross(along_rows, along_columns)
    backwards = _is_backwards(normal, private)
    start = first - normal * distance * (count - 1) if backwards else first
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.column_stack([along_rows * across, along_columns * down, normal * distance])
    affine[:3, 3] = LPS_TO_RAS @ start
    slope = 1.0 if frame.slope is None else frame.slope
    return Mosaic((columns, rows, count), affine, backwards, slope, frame.intercept or 0.0)


def _tiles(rows: int, columns: int, private: dict[str, tuple[float, ...]]) -> tuple[int, int, int]:
    """Columns and rows of a tile, and the number of tiles that hold a slice."""
    counts = {int(value) for name in ("NumberOfImagesInMosaic", "count") if (value := _number(private, name))}
    if len(counts) != 1:
        said = "contradicts itself about" if counts else "does not say"
        raise DataError("missing_geometry", f"the mosaic {said} how many slices it holds")
    (count,) = counts
    side = math.ceil(math.sqrt(count)) if count > 0 else 0
    if side == 0 or rows % side or columns % side:
        raise DataError(
            "converter_mismatch", f"{rows} x {columns} pixels cannot be divided into tiles of {count} slices"
        )
    return columns // side, rows // side, count


def _is_backwards(normal: NDArray[np.float64], private: dict[str, tuple[float, ...]]) -> bool:
    """Whether the tiles follow each other against the normal of the image plane."""
    along = np.array(private.get("SliceNormalVector", ()))
    if along.shape != (3,):
        raise DataError(
            "missing_geometry",
            "the mosaic has lost the Siemens header (0029,1010), which alone says in which direction its slices follow "
            "each other; send it again with its private attributes",
        )
    cosine = float(along @ normal)
    if not _PERPENDICULAR < abs(cosine) < 2 - _PERPENDICULAR:
        raise DataError("converter_mismatch", f"the slice normal is not that of the image plane (cosine {cosine:.3g})")
    return cosine < 0


def _private_values(path: Path) -> dict[str, tuple[float, ...]]:
    """What the Siemens headers of a file say about the mosaic."""
    names = ("NumberOfImagesInMosaic", "SliceNormalVector", "SpacingBetweenSlices")
    try:
        with unwarned():  # pydicom warns about values that reading does not look at
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            header = _private(dataset, 0x0029, "SIEMENS CSA HEADER", 0x10)
            values = csa_values(header, names) if isinstance(header, bytes) else {}
            count = _private(dataset, 0x0019, "SIEMENS MR HEADER", 0x0A)
            if isinstance(count, bytes) and len(count) == 2:  # implicit VR: pydicom may not know the type
                count = int.from_bytes(count, "little")
    except PYDICOM_ERRORS as error:
        raise DataError("undecodable", f"the Siemens header cannot be read ({type(error).__name__})") from error
    return values | ({"count": (float(count),)} if isinstance(count, int) else {})


def _private(dataset: pydicom.Dataset, group: int, creator: str, offset: int) -> object:
    try:
        return dataset.private_block(group, creator)[offset].value
    except KeyError:
        return None


def _number(values: dict[str, tuple[float, ...]], name: str) -> float | None:
    found = values.get(name, ())
    return found[0] if found and math.isfinite(found[0]) else None
