"""Siemens mosaics through dcm2niix, whose output is believed only where the headers prove it.

dcm2niix exits 0 on bad output, so every voxel and the whole grid are compared with what the DICOM files say.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.decode import stored_frames
from radfed.imaging.dicom.grouping import Slice
from radfed.imaging.dicom.index import Series
from radfed.imaging.dicom.moments import order_volumes
from radfed.imaging.dicom.mosaic import Mosaic, mosaic_of
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.volume import Volume

TIMEOUT = 300.0
"""How long dcm2niix may take for one series (s)."""

SAME_PLACE_MM = 0.01
"""How far a corner of dcm2niix's grid may lie from where the headers say it is."""


def convert(series: Series) -> ScannedVolume:
    """Convert a series of Siemens mosaics, one volume a file, and check the result against the headers.

    Raises:
        DataError: ``mosaic`` (dcm2niix is not installed, or the series is none of mosaics), ``missing_geometry``,
            ``undecodable``, or ``converter_mismatch`` where dcm2niix and the headers disagree.
    """
    slices = [series.slices[volume[0]] for volume in order_volumes(series.slices, [range(len(series.slices))])]
    mosaics = [mosaic_of(one) for one in slices]
    converted, version = run_dcm2niix([one.instance.path for one in slices])
    volume = _checked(converted, mosaics, slices)
    return ScannedVolume(volume, (), (f"converted by dcm2niix {version}, checked against the headers",))


def run_dcm2niix(files: Sequence[Path]) -> tuple[Volume, str]:
    """Run dcm2niix on some files: the one image it should write ``(C, H, W, D)``, RAS+, and its version.

    Raises:
        DataError: ``mosaic``, ``undecodable`` or ``converter_mismatch``.
    """
    spec = importlib.util.find_spec("dcm2niix")
    if spec is None or spec.origin is None:
        raise DataError(
            "mosaic", "mosaics are read by dcm2niix, which is not installed: pip install 'radfed[dcm2niix]'"
        )
    program = Path(spec.origin).with_name("dcm2niix")
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        out.mkdir()
        for number, path in enumerate(files):
            (source / f"{number:06}.dcm").symlink_to(path.absolute())
        # No side file, which would hold names; no compression; the user's own defaults ignored; a name without facts.
        command = [str(program), "-b", "n", "-z", "n", "-g", "i", "-f", "volume", "-o", str(out), str(source)]
        environment = {"HOME": folder, "LC_ALL": "C", "PATH": os.defpath}
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=TIMEOUT, env=environment, stdin=subprocess.DEVNULL, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise DataError("undecodable", f"dcm2niix did not end within {TIMEOUT:g} s") from error
        # What it printed holds names: only its exit code and version may be told.
        if done.returncode != 0:
            raise DataError("undecodable", f"dcm2niix failed with the exit code {done.returncode}")
        version = re.search(rb"version (v[0-9.]+)", done.stdout)
        return _read_output(out), version.group(1).decode() if version else "of unknown version"


def _read_output(folder: Path) -> Volume:
    images = sorted(folder.glob("*.nii"))
    if len(images) != 1:
        raise DataError("converter_mismatch", f"dcm2niix made {len(images)} images of the series, expected 1")
    try:
        image = nib.load(images[0])
        voxels = np.array(image.dataobj)
        affine = np.array(image.affine, dtype=np.float64)
    except (OSError, EOFError, ImageFileError, HeaderDataError, ValueError, MemoryError) as error:
        raise DataError("converter_mismatch", f"dcm2niix's image cannot be read ({type(error).__name__})") from error
    if voxels.ndim not in (3, 4):
        raise DataError("converter_mismatch", f"dcm2niix's image has {voxels.ndim} dimensions, expected 3 or 4")
    array = voxels[np.newaxis] if voxels.ndim == 3 else np.moveaxis(voxels, -1, 0)
    return Volume(array, affine)


def _checked(converted: Volume, mosaics: Sequence[Mosaic], slices: Sequence[Slice]) -> Volume:
    """The converted volume on the grid that the headers describe, volumes in the order of the slices.

    Raises:
        DataError: ``converter_mismatch`` or ``undecodable``.
    """
    expected = mosaics[0].affine
    if any(np.abs(one.affine - expected).max() > SAME_PLACE_MM or one.shape != mosaics[0].shape for one in mosaics):
        raise DataError("mixed_orientation", f"the {len(mosaics)} mosaics of the series do not lie on one grid")
    count = converted.array.shape[0]
    if count != len(mosaics):
        raise DataError("converter_mismatch", f"dcm2niix made {count} volumes of {len(mosaics)} mosaics")
    volume = _on_axes_of(converted, expected)
    if volume.shape != mosaics[0].shape:
        raise DataError("converter_mismatch", f"dcm2niix's volumes have the shape {volume.shape}, the mosaics "
                        f"{mosaics[0].shape}")  # fmt: skip
    apart = _corner_distance(volume, expected)
    if not apart <= SAME_PLACE_MM:  # NaN included
        raise DataError(
            "converter_mismatch",
            f"dcm2niix places the volume up to {apart:.3g} mm from where the headers do (allowed {SAME_PLACE_MM:g} mm)",
        )
    order = _matched(volume.array, mosaics, slices)
    return Volume(_smallest_type(volume.array[order]), expected)


def _matched(array: NDArray[Any], mosaics: Sequence[Mosaic], slices: Sequence[Slice]) -> list[int]:
    """For each mosaic the converted volume that holds its very voxels.

    Raises:
        DataError: ``converter_mismatch`` or ``undecodable``.
    """
    known: dict[bytes, list[int]] = {}
    for index, voxels in enumerate(array):
        known.setdefault(_digest(voxels), []).append(index)
    order = []
    for one, mosaic in zip(slices, mosaics, strict=True):
        (_, stored), *_ = stored_frames(one.instance, [one.number])
        same = known.get(_digest(mosaic.voxels(stored)))
        if not same:
            raise DataError(
                "converter_mismatch", "dcm2niix's voxels differ from the mosaic's tiles in at least one volume"
            )
        order.append(same.pop())
    return order


def _on_axes_of(volume: Volume, affine: NDArray[np.float64]) -> Volume:
    """Permute and flip a volume so that its axes run as those of another grid."""
    if not np.isfinite(volume.affine).all() or abs(np.linalg.det(volume.affine)) < 1e-6:
        raise DataError("converter_mismatch", "dcm2niix's affine is singular or not finite")
    turn = nib.io_orientation(np.linalg.solve(affine, volume.affine))
    array = nib.orientations.apply_orientation(np.moveaxis(volume.array, 0, -1), turn)
    place = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.shape)
    return Volume(np.moveaxis(array, -1, 0), np.asarray(place, dtype=np.float64))


def _corner_distance(volume: Volume, affine: NDArray[np.float64]) -> float:
    """How far the corners of a volume lie from those of a grid of the same shape (mm)."""
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in volume.shape], indexing="ij")).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((volume.affine - affine) @ homogeneous)[:3], axis=0).max())


def _digest(voxels: NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(voxels, dtype="<f4").data).digest()


def _smallest_type(array: NDArray[Any]) -> NDArray[Any]:
    """int16 or int32 where the values are whole and fit, else float32."""
    whole = array.dtype.kind in "iu" or bool((array == np.rint(array)).all())
    for dtype in (np.int16, np.int32) if whole else ():
        if array.min() >= np.iinfo(dtype).min and array.max() <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array.astype(np.float32)
