"""NIfTI files to volumes and back, strictly: a file that cannot be trusted is refused with a reason code.

Messages hold neither file names nor paths, because they end up in reports that may leave the site.
"""

import gzip
import io
import os
import secrets
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.volume import Volume

T = TypeVar("T")

MAX_VOXELS = 2**31
"""A header that promises more than this is broken; reading on would only exhaust the memory."""

ORTHOGONALITY_TOLERANCE = 1e-3
INTEGER_TOLERANCE = 1e-3
_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_WHOLE_NUMBERS = (np.int16, np.int32)


def read_image(path: Path) -> Volume:
    """Read an image as float32 ``(C, H, W, D)``; a 3D file has one channel, the last axis of a 4D file is the channel.

    Raises:
        DataError: ``unreadable`` (not NIfTI, cut short, not 3D or 4D, not numbers) or ``bad_affine``.
    """
    voxels, affine = _read(path)
    with np.errstate(over="ignore"):
        values = np.asarray(voxels, dtype=np.float32)
    array = values[np.newaxis] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    return Volume(np.ascontiguousarray(array), affine)


def read_label(path: Path) -> Volume:
    """Read a label map as ``(1, H, W, D)``, uint8 where the values fit, else int16.

    Raises:
        DataError: ``unreadable``, ``bad_affine``, or ``not_integer`` (fractions, NaN, outside int16).
    """
    voxels, affine = _read(path)
    if voxels.ndim == 4:
        if voxels.shape[3] != 1:
            raise DataError("unreadable", f"a label must be 3D, got the shape {voxels.shape}; give one map a case")
        voxels = voxels[..., 0]
    values = np.asarray(voxels, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError("not_integer", "a label must hold whole numbers, got NaN or infinity; export it as integers")
    whole = np.rint(values)
    worst = float(np.abs(values - whole).max(initial=0.0))
    if worst > INTEGER_TOLERANCE:
        odd = float(values.flat[int(np.abs(values - whole).argmax())])
        raise DataError(
            "not_integer",
            f"a label must hold whole numbers, got {odd:.4g}; was it resampled with linear interpolation? "
            "Resample labels with nearest neighbour",
        )
    low, high = float(whole.min(initial=0.0)), float(whole.max(initial=0.0))
    if low < -32768 or high > 32767:
        raise DataError("not_integer", f"a label value must lie in -32768..32767, got {low:.0f}..{high:.0f}")
    dtype = np.uint8 if low >= 0 and high <= 255 else np.int16
    return Volume(np.ascontiguousarray(whole.astype(dtype)[np.newaxis]), affine)


def write_image(path: Path, volume: Volume) -> None:
    """Write a volume as ``.nii.gz``: equal volumes give equal bytes, and the file is whole or absent.

    Float voxels are stored as float32, whole numbers in their own type (64 bit as 32 bit). One channel makes a 3D
    file, more make a 4D file whose last axis is the channel.
    """
    array = _storable(volume.array)
    voxels = array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)
    image = nib.Nifti1Image(np.asfortranarray(voxels), volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner")
    packed = io.BytesIO()
    # Neither a file name nor a time goes into the gzip header: both would make equal volumes differ on disk.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=packed, mtime=0) as stream:
        stream.write(image.to_bytes())
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(packed.getvalue())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_mask(path: Path, mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """Write a mask ``(H, W, D)`` of label values on the grid of ``affine`` as ``.nii.gz``."""
    write_image(path, Volume(np.asarray(mask, dtype=np.uint8)[np.newaxis], affine))


def to_ras(volume: Volume) -> Volume:
    """Permute and flip axes to the closest RAS order; no voxel is resampled, an oblique grid stays oblique."""
    orientation = nib.io_orientation(volume.affine)
    shape = volume.shape
    array = np.moveaxis(volume.array, [1 + axis for axis in range(3)], [1 + int(to) for to in orientation[:, 0]])
    flipped = tuple(1 + int(to) for to, direction in orientation if direction < 0)
    array = np.flip(array, flipped) if flipped else array
    affine = volume.affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    return Volume(np.ascontiguousarray(array), np.asarray(affine, dtype=np.float64))


def orientation_of(affine: NDArray[np.float64]) -> str:
    """The three axis codes of a grid, for example ``LPS``: the direction in which each array axis grows."""
    return "".join(nib.aff2axcodes(affine))


def check_affine(affine: NDArray[np.float64]) -> None:
    """Refuse an affine that is not finite, singular, or sheared by more than 1e-3.

    Raises:
        DataError: ``bad_affine``.
    """
    matrix = affine[:3, :3]
    if not np.isfinite(affine).all():
        raise DataError("bad_affine", "the affine holds NaN or infinity; export the file again from its source")
    spacing = np.linalg.norm(matrix, axis=0)
    if spacing.min() < 1e-6 or abs(float(np.linalg.det(matrix / spacing))) < 1e-3:
        raise DataError(
            "bad_affine",
            f"the affine is singular (spacing {_triple(spacing)} mm): voxels have no place in the patient; "
            "export the file again from its source",
        )
    directions = matrix / spacing
    shear = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if shear > ORTHOGONALITY_TOLERANCE:
        raise DataError(
            "bad_affine",
            f"the axes are not at right angles (largest cosine {shear:.2g}, allowed {ORTHOGONALITY_TOLERANCE:g}), "
            "as after gantry tilt; resample it to a straight grid first",
        )


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The voxels ``(H, W, D)`` or ``(H, W, D, C)`` of a file, scaled, and its checked affine in mm."""
    image = _guarded(lambda: nib.load(path))
    if not isinstance(image, nib.Nifti1Pair):  # NIfTI-2 derives from it
        raise DataError("unreadable", f"not a NIfTI file but {type(image).__name__}; give .nii or .nii.gz")
    shape = tuple(int(side) for side in image.shape)
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise DataError("unreadable", f"an image must have 3 or 4 dimensions, got the shape {shape}")
    if int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
        raise DataError("unreadable", f"the header promises the shape {shape}, more than {MAX_VOXELS} voxels")
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise DataError("unreadable", f"voxels must be real numbers, got the type {dtype}")
    if int(image.header["qform_code"]) == 0 and int(image.header["sform_code"]) == 0:
        raise DataError(
            "bad_affine",
            "neither qform nor sform says how the voxels lie in the patient, so left and right are unknown; "
            "export the file again from its source",
        )
    _guarded(lambda: _check_sum(path))
    affine = _guarded(lambda: np.array(image.affine, dtype=np.float64))
    affine[:3] *= _MM_PER_UNIT.get(_guarded(image.header.get_xyzt_units)[0], 1.0)
    check_affine(affine)
    voxels: NDArray[Any] = _guarded(lambda: np.asanyarray(image.dataobj))
    return voxels, affine


def _check_sum(path: Path) -> None:
    """Read a compressed file to its end, where the check sum is: nibabel stops before, and takes flipped bits."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if packed:
        with gzip.open(path) as content:
            while content.read(1 << 22):
                pass


def _guarded(read: Callable[[], T]) -> T:
    """Run a step of reading; what a broken file can raise becomes ``DataError``."""
    try:
        return read()
    except (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, ValueError, KeyError, MemoryError) as error:
        raise DataError(
            "unreadable", f"cannot be read as NIfTI ({type(error).__name__}): not NIfTI, or cut short; copy it again"
        ) from error


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """The array in a type that every NIfTI reader knows."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.uint64, np.uint32):
        for dtype in _WHOLE_NUMBERS:
            if array.min(initial=0) >= np.iinfo(dtype).min and array.max(initial=0) <= np.iinfo(dtype).max:
                return array.astype(dtype)
        raise DataError("unreadable", "whole numbers beyond 32 bit cannot be written; rescale the image")
    return array


def _triple(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
