"""Real Siemens mosaics, uncompressed, JPEG lossless and JPEG 2000, through dcm2niix and the check against headers."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from radfed.errors import DataError
from radfed.imaging.dicom import converter
from radfed.imaging.dicom.converter import convert, run_dcm2niix
from radfed.imaging.dicom.index import Series, index_folder
from radfed.imaging.nifti import to_ras
from radfed.imaging.volume import Volume

pytest.importorskip("dcm2niix")

FOLDERS = ("axasc35", "corasc35", "sagasc35", "axmb/AxAsc36mb2a", "axmb/AxInt36mb")


@pytest.fixture(scope="module")
def root() -> Path:
    data = os.environ.get("RADFED_DATA")
    if data is None or not (found := Path(data, "dicom_siemens_mosaic_compressed")).is_dir():
        pytest.skip("RADFED_DATA does not name a folder that holds dicom_siemens_mosaic_compressed")
    return found


def mosaics(folder: Path) -> Series:
    (series,) = index_folder(folder).series
    return series


@pytest.mark.parametrize("folder", FOLDERS)
def test_mosaics_convert_and_agree_with_the_headers(root: Path, folder: str) -> None:
    series = mosaics(root / folder)
    scanned = convert(series)
    channels, *_, slices = scanned.volume.array.shape
    assert channels == len(series.instances)
    assert slices in (35, 36)
    converted, _ = run_dcm2niix([one.path for one in series.instances])
    ours, theirs = to_ras(scanned.volume), to_ras(converted)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-3)
    np.testing.assert_array_equal(ours.array, theirs.array)


def test_mosaic_equals_its_reference_image(root: Path) -> None:
    scanned = to_ras(convert(mosaics(root / "axasc35")).volume)
    stored = nib.load(root / "axasc35" / "6_ax_asc_35sl.nii")
    reference = to_ras(Volume(np.moveaxis(np.asarray(stored.dataobj), -1, 0), stored.affine))
    np.testing.assert_array_equal(scanned.array, reference.array)
    np.testing.assert_allclose(scanned.affine, reference.affine, atol=0.01)


@pytest.mark.parametrize("folder", FOLDERS)
def test_tampered_output_is_caught(root: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    series = mosaics(root / folder)
    good, version = run_dcm2niix([one.path for one in series.instances])
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = good.shape[2] - 1
    voxel = good.array.copy()
    voxel[0, 30, 30, 17] += 1
    shift = good.affine.copy()
    shift[2, 3] += 0.05
    for bad in (Volume(good.array, good.affine @ flip), Volume(voxel, good.affine), Volume(good.array, shift)):
        monkeypatch.setattr(converter, "run_dcm2niix", lambda _files, bad=bad: (bad, version))
        with pytest.raises(DataError) as caught:
            convert(series)
        assert caught.value.reason == "converter_mismatch"
