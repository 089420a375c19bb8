"""A projection image (CR, DX) as a volume of one slice."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.frames import Frame
from radfed.imaging.dicom.geometry import affine, stack
from radfed.imaging.dicom.grouping import Slice
from radfed.imaging.dicom.pixels import assemble, factors
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.volume import Volume


def read_projection(one: Slice) -> ScannedVolume:
    """Read one image as ``(1, H, W, 1)``, H the column index and W the row index.

    It has no place in the patient: the affine holds PixelSpacing (or ImagerPixelSpacing, at the detector) with the
    identity orientation of DICOM and a thickness of 1 mm. MONOCHROME1 is inverted, so that more is brighter.

    Raises:
        DataError: ``missing_geometry`` without a pixel spacing, or ``undecodable``.
    """
    frame = one.frame
    spacing = frame.pixel_spacing or one.instance.imager_spacing
    if one.instance.frames != 1:
        raise DataError("unsupported_pixels", f"a projection of {one.instance.frames} frames; wanted one")
    flat = stack([_flat(frame, spacing)])
    voxels = assemble([one], [(0, 0)], (1, 1, one.instance.rows, one.instance.columns))
    steps: tuple[str, ...] = ()
    if one.instance.photometric == "MONOCHROME1":
        voxels = _inverted(voxels, one)
        steps = ("inverted MONOCHROME1",)
    volume = Volume(voxels.transpose(0, 3, 2, 1), affine(flat.points[0], flat, flat.normal))
    return ScannedVolume(volume, (((one.instance.path, one.number),),), steps)


def _flat(frame: Frame, spacing: tuple[float, ...] | None) -> Frame:
    """The frame at the origin, looking as the identity does."""
    return replace(frame, position=(0.0,) * 3, orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), pixel_spacing=spacing)


def _inverted(voxels: NDArray[Any], one: Slice) -> NDArray[Any]:
    """Values mirrored within the range that can be stored, or within their own where a LUT made them."""
    if voxels.dtype == np.float32:
        return np.asarray(voxels.max() + voxels.min() - voxels, dtype=np.float32)
    bits, signed = one.instance.bits_stored or one.instance.bits_allocated, one.instance.signed
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = factors(one)
    mirrored = int(sum(end * slope + intercept for end in ends)) - voxels.astype(np.int64)
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        if mirrored.min() >= limits.min and mirrored.max() <= limits.max:
            return mirrored.astype(dtype)
    return mirrored.astype(np.float32)
