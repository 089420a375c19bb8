"""Small DICOM hospitals for the tests of ingest."""

from pathlib import Path

import numpy as np

from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.objects.seg import write_seg
from radfed.imaging.phantoms_dicom import FakePatient, Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask

SHAPE = (36, 32, 8)


def a_patient(number: int) -> FakePatient:
    return fake_patient(np.random.default_rng(number))


def a_scan(seed: int) -> Volume:
    """Axial, pixels of 1.5 x 2 mm, slices of 4 mm, whole numbers."""
    affine = np.diag([-1.5, -2.0, 4.0, 1.0])
    affine[:3, 3] = (20.0, 31.0, -7.0)
    values = np.random.default_rng(seed).integers(0, 900, size=(1, *SHAPE))
    return Volume(values.astype(np.int16), affine)


def a_mask() -> np.ndarray:
    """Label values ``(H, W, D)``: 1 on 12 voxels, 2 on 18."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[2:4, 3:6, 2:4] = 1
    mask[9:12, 3:6, 4:6] = 2
    return mask


def write_study(
    folder: Path, number: int, task: SegmentationTask | None = None, flavour: Flavour = Flavour.MR, **how: object
) -> Volume:
    """A patient's series; with a task also a SEG of ``a_mask``."""
    scan = a_scan(number)
    write_series(folder, scan, flavour, a_patient(number), seed=number, **how)  # type: ignore[arg-type]
    if task is not None:
        (series,) = (one for one in index_folder(folder).series if one.number == how.get("series_number", 1))
        write_seg(folder / "label.dcm", a_mask(), read_series(series), task, "1.0.0")
    return scan
