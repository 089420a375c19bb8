"""NIfTI files to volumes and back, strictly: a file that cannot be trusted is refused with a reason code.

Messages hold neither file names nor paths, because they end up in reports that may leave the site.
"""

import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.order import copy_voxels, in_c_order
from radfed.imaging.volume import Volume

T = TypeVar("T")

MAX_VOXELS = 2**31
"""A header that promises more than this is broken; reading on would only exhaust the memory."""

ORTHOGONALITY_TOLERANCE = 1e-3
INTEGER_TOLERANCE = 1e-3
_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_WHOLE_NUMBERS = (np.int16, np.int32)

_GZIP_LEVEL = 2
"""Of ISA-L's levels 0 to 3: five times faster than zlib's level 4 on a CT, its files 3% larger."""

_SLAB_BYTES = 2**25


def read_image(path: Path) -> Volume:
    """Read an image as float32 ``(C, H, W, D)``; a 3D file has one channel, the last axis of a 4D file is the channel.

    Raises:
        DataError: ``unreadable`` (not NIfTI, cut short, not 3D or 4D, not numbers) or ``bad_affine``.
    """
    image, affine = _open(path)
    with np.errstate(over="ignore"):
        return Volume(_guarded(lambda: _voxels(image, path, np.dtype(np.float32))), affine)


def read_label(path: Path) -> Volume:
    """Read a label map as ``(1, H, W, D)``, uint8 where the values fit, else int16.

    Raises:
        DataError: ``unreadable``, ``bad_affine``, or ``not_integer`` (fractions, NaN, outside int16).
    """
    image, affine = _open(path)
    if len(image.shape) == 4 and image.shape[3] != 1:
        raise DataError("unreadable", f"a label must be 3D, got the shape {image.shape}; give one map a case")
    values = _guarded(lambda: _voxels(image, path))
    whole = values if values.dtype.kind in "iu" else _whole(values)
    low, high = float(whole.min(initial=0)), float(whole.max(initial=0))
    if low < -32768 or high > 32767:
        raise DataError("not_integer", f"a label value must lie in -32768..32767, got {low:.0f}..{high:.0f}")
    dtype = np.uint8 if low >= 0 and high <= 255 else np.int16
    return Volume(whole.astype(dtype, copy=False), affine)


def write_image(path: Path, volume: Volume) -> None:
    """Write a volume as ``.nii.gz``: equal volumes give equal bytes, and the file is whole or absent.

    ISA-L has its own code for each generation of processors, so only the unpacked bytes are the same everywhere.

    Float voxels are stored as float32, whole numbers in their own type (64 bit as 32 bit). One channel makes a 3D
    file, more make a 4D file whose last axis is the channel.
    """
    array = _storable(volume.array)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # Neither a file name nor a time goes into the gzip header: both would make equal volumes differ on disk.
        with (
            beside.open("wb") as file,
            igzip.IGzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0) as stream,
        ):
            header = _header(array, volume.affine)
            header.write_to(stream)
            for channel in array:
                # A NIfTI file holds the first axis side by side: C order of the transposed array.
                for block in in_c_order(channel.T, header.get_data_dtype()):
                    stream.write(block)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_mask(path: Path, mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> None:
    """Write a mask ``(H, W, D)`` of label values on the grid of ``affine`` as ``.nii.gz``."""
    write_image(path, Volume(np.asarray(mask, dtype=np.uint8)[np.newaxis], affine))


def to_ras(volume: Volume) -> Volume:
    """Permute and flip axes to the closest RAS order; no voxel is resampled, an oblique grid stays oblique.

    The array is a view of the volume's, so it is seldom contiguous.
    """
    orientation = nib.io_orientation(volume.affine)
    shape = volume.shape
    array = np.moveaxis(volume.array, [1 + axis for axis in range(3)], [1 + int(to) for to in orientation[:, 0]])
    flipped = tuple(1 + int(to) for to, direction in orientation if direction < 0)
    array = np.flip(array, flipped) if flipped else array
    affine = volume.affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    return Volume(array, np.asarray(affine, dtype=np.float64))


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


def _open(path: Path) -> tuple[nib.Nifti1Image, NDArray[np.float64]]:
    """A file's header, checked, and its affine in mm. No voxel was read."""
    image = _guarded(lambda: nib.load(path))
    if not isinstance(image, nib.Nifti1Image):  # NIfTI-2 derives from it
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
    affine = _guarded(lambda: np.array(image.affine, dtype=np.float64))
    affine[:3] *= _MM_PER_UNIT.get(_guarded(image.header.get_xyzt_units)[0], 1.0)
    check_affine(affine)
    return image, affine


def _voxels(image: nib.Nifti1Image, path: Path, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """The scaled voxels of an opened file ``(C, H, W, D)``, in C order; without a type in the one that scaling gives.

    A compressed file is read once and to its end, where the check sum is: flipped bits raise.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        return _gather(image, dtype)
    with igzip.open(path) as stream:
        voxels = _gather(type(image).from_stream(stream), dtype)
        while stream.read(_SLAB_BYTES):
            pass
    return voxels


def _gather(image: nib.Nifti1Image, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """The voxels of an image whose file is read front to back, a few slices at a time."""
    height, width, depth, channels = (*image.shape, 1)[:4]
    array: NDArray[Any] | None = None
    for channel, slices, slab in _slabs(image):
        if array is None:
            array = np.empty((channels, height, width, depth), dtype=dtype or slab.dtype.newbyteorder("="))
        copy_voxels(array[channel, :, :, slices], slab)
    assert array is not None  # no side is shorter than 1
    return array


def _slabs(image: nib.Nifti1Image) -> Iterator[tuple[int, slice, NDArray[Any]]]:
    """Channel, slices and scaled voxels ``(H, W, slices)``, in the file's order."""
    height, width, depth, channels = (*image.shape, 1)[:4]
    count = max(1, _SLAB_BYTES // (height * width * image.get_data_dtype().itemsize))
    for channel in range(channels):
        place = (channel,) if len(image.shape) == 4 else ()
        for start in range(0, depth, count):
            slices = slice(start, min(start + count, depth))
            yield channel, slices, image.dataobj[(slice(None), slice(None), slices, *place)]


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Float voxels as whole numbers, if they are some."""
    if not np.isfinite(values).all():
        raise DataError("not_integer", "a label must hold whole numbers, got NaN or infinity; export it as integers")
    whole: NDArray[Any] = np.rint(values)
    apart = np.abs(values - whole)
    if float(apart.max(initial=0.0)) > INTEGER_TOLERANCE:
        odd = float(values.flat[int(apart.argmax())])
        raise DataError(
            "not_integer",
            f"a label must hold whole numbers, got {odd:.4g}; was it resampled with linear interpolation? "
            "Resample labels with nearest neighbour",
        )
    return whole


def _header(array: NDArray[Any], affine: NDArray[np.float64]) -> nib.Nifti1Header:
    """The header of an array ``(C, H, W, D)`` as it is stored."""
    channels, *space = array.shape
    shape = (*space,) if channels == 1 else (*space, channels)
    image = nib.Nifti1Image(np.broadcast_to(np.zeros((), dtype=array.dtype), shape), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_slope_inter(1.0, 0.0)
    return image.header


_BROKEN = (
    OSError,
    EOFError,
    zlib.error,
    cast(type[Exception], isal_zlib.IsalError),  # its stub calls the class an instance
    ImageFileError,
    HeaderDataError,
    ValueError,
    KeyError,
    MemoryError,
)


def _guarded(read: Callable[[], T]) -> T:
    """Run a step of reading; what a broken file can raise becomes ``DataError``."""
    try:
        return read()
    except _BROKEN as error:
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
