"""A volume as DICOM slices: what lies where, in LPS (PS3.3 C.7.6.2, Image Plane)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.errors import InvalidInputError
from radfed.imaging.volume import Volume

_LPS = np.diag([-1.0, -1.0, 1.0])
_ORTHOGONAL = 1e-4


@dataclass(frozen=True)
class Slice:
    """One image of a series.

    Attributes:
        values: ``(rows, columns)`` int32, in the units of the modality, after rescale.
        position: centre of the first pixel in LPS (mm), ``ImagePositionPatient``.
        orientation: ``(6,)`` LPS direction of increasing column index, then of increasing row index.
        spacing: distance between rows, then between columns (mm), ``PixelSpacing``.
        thickness: distance to the next slice (mm).
        number: ``InstanceNumber``.
        count: slices of the whole series.
        acquisition: ``AcquisitionNumber``.
        rescaled: whether the header says slope and intercept, where the modality has them.
        tilt: angle by which the series is sheared (degrees), ``GantryDetectorTilt``.
    """

    values: NDArray[np.int32]
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: tuple[float, float]
    thickness: float
    number: int
    count: int
    acquisition: int = 1
    rescaled: bool = True
    tilt: float = 0.0


def slices_of(volume: Volume) -> tuple[Slice, ...]:
    """Cut a RAS volume ``(1, H, W, D)`` along its last axis; columns run along the first axis, rows along the second.

    Raises:
        InvalidInputError: several channels, fractions, values beyond 32 bits, or axes that are not orthogonal.
    """
    if volume.array.ndim != 4 or volume.array.shape[0] != 1:
        raise InvalidInputError(f"a DICOM phantom needs an array (1, H, W, D), got shape {volume.array.shape}")
    whole = np.rint(volume.array[0].astype(np.float64)).astype(np.int32)
    if not np.array_equal(whole, volume.array[0]):
        raise InvalidInputError("a DICOM phantom needs whole numbers, as a scanner stores them; round the volume first")
    axes = _LPS @ volume.affine[:3, :3]
    directions = axes / np.linalg.norm(axes, axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > _ORTHOGONAL:
        raise InvalidInputError("a DICOM phantom needs orthogonal axes; for a sheared series ask for the fault 'tilt'")
    column_spacing, row_spacing, thickness = (float(side) for side in np.linalg.norm(axes, axis=0))
    origin = _LPS @ volume.affine[:3, 3]
    return tuple(
        Slice(
            values=np.ascontiguousarray(whole[:, :, k].T),
            position=origin + k * axes[:, 2],
            orientation=np.concatenate([directions[:, 0], directions[:, 1]]),
            spacing=(row_spacing, column_spacing),
            thickness=thickness,
            number=k + 1,
            count=whole.shape[2],
        )
        for k in range(whole.shape[2])
    )
