"""Real scans against the NIfTI files that dcm2niix made of them: one row a series.

The data are not part of this repository: ``RADFED_DATA`` names the folder that holds the sets.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.index import Index, Series, index_folder
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import read_series
from radfed.imaging.volume import Volume

DATA = os.environ.get("RADFED_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="RADFED_DATA does not name a folder with the DICOM sets")

WORLD_MM = 0.01
PLAIN = ReadOptions()


@dataclass(frozen=True)
class Row:
    """A series, by set, SeriesNumber and part, and what becomes of it."""

    dataset: str
    number: int | None
    part: int = 1
    reference: str | None = None
    refused: str | None = None
    options: ReadOptions = PLAIN
    shape: tuple[int, ...] | None = None
    philips_precise: bool = False
    within: float = 1e-3

    @property
    def label(self) -> str:
        """A test id."""
        return f"{self.dataset}-{self.number}-{self.part}-{self.refused or 'read'}-{self.options.dcm2niix:d}"


MOSAIC = ReadOptions(dcm2niix=True)
NIH, ENHANCED, SIEMENS = "dicom_nih_ge_siemens", "dicom_enhanced", "dicom_siemens_mosaic_compressed"
TILTED, PHI = "dicom_ge_ct_gantry_tilt", "dicom_burned_in_phi"
ROWS = (
    *(Row(NIH, n, reference=f"Ref/DCM2NIIX_regression_test_{n}.nii", shape=(10, 64, 64, 15)) for n in (4, 5, 6, 7)),
    *(
        Row(f"{NIH}/In/20180918Si", n, reference=f"../../Ref/EPI_PE={way}_{n}.nii", options=MOSAIC)
        for n, way in ((3, "AP"), (4, "PA"), (5, "RL"), (6, "LR"))
    ),
    *(Row(f"{NIH}/In/20180918Si", n, refused="mosaic") for n in (3, 4, 5, 6)),
    Row(ENHANCED, 6, reference="Ref/Siemens_REST1_w_SMS_PF7-8_6.nii", shape=(4, 64, 64, 6)),
    Row(ENHANCED, 801, 1, reference="Ref/Philips_WIP_B0_NS_801_e1.nii", shape=(1, 64, 64, 32), philips_precise=True),
    # The reference's slope is 0.24420166, the header's 0.24420024: up to 0.0058 Hz at the stored value 4084.
    Row(ENHANCED, 801, 2, reference="Ref/Philips_WIP_B0_NS_801_e2_fieldmaphz.nii", shape=(1, 64, 64, 32), within=6e-3),
    Row(SIEMENS, 6, reference="axasc35/6_ax_asc_35sl.nii", options=MOSAIC),
    *(Row(SIEMENS, n, refused="mosaic") for n in (6, 16, 22, 25, 26)),
    # One head scan of two stacks, the slices of one 4 mm, of the other 7 mm apart; the gantry leans 18.5 degrees.
    Row(TILTED, 2, 1, refused="tilt"),
    Row(TILTED, 2, 2, refused="tilt"),
    Row("totalseg_ct", None, shape=(1, 512, 512, 20)),
    Row("dicom_ct_liver_seg", 2, shape=(1, 512, 512, 3)),
    Row("dicom_ct_phantom_rtstruct", 3, refused="too_few_slices", options=ReadOptions(min_slices=3)),
    Row("dicom_ct_phantom_rtstruct", 3, shape=(1, 512, 512, 2)),
)


@cache
def index(dataset: str) -> Index:
    assert DATA is not None
    return index_folder(Path(DATA, dataset))


def find(row: Row) -> Series:
    (found,) = (
        one
        for one in index(row.dataset).series
        if one.number == row.number
        and (int(one.id.rpartition("#")[2]) if "#" in one.id else 1) == row.part
        and (row.dataset != NIH or one.manufacturer.startswith("GE"))
    )
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_a_series_equals_its_reference_or_is_refused(row: Row) -> None:
    if row.options.dcm2niix:
        pytest.importorskip("radfed.imaging.dicom.converter")
    if row.refused is not None:
        with pytest.raises(DataError) as caught:
            read_series(find(row), row.options)
        assert caught.value.reason == row.refused
        return
    scanned = read_series(find(row), row.options)
    if row.shape is not None:
        assert scanned.volume.array.shape == row.shape
    if row.reference is not None:
        assert DATA is not None
        scale = precise_scale(find(row)) if row.philips_precise else 1.0
        assert_same_in_world(scanned.volume, nib.load(Path(DATA, row.dataset, row.reference)), scale, row.within)


def on_grid_of(volume: Volume, voxels: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[Any]:
    """Voxels ``(H, W, D)`` or ``(H, W, D, C)`` on the same places in another order, in the order of the volume."""
    to_voxels = np.linalg.inv(affine) @ volume.affine
    whole = np.rint(to_voxels)
    apart = affine @ (whole - to_voxels) @ corners_of(volume.shape)
    assert np.linalg.norm(apart[:3], axis=0).max() < WORLD_MM
    assert (np.abs(whole[:3, :3]) @ volume.shape == voxels.shape[:3]).all()
    i, j, k = index_map(whole, volume.shape)
    moved: NDArray[Any] = voxels[i, j, k]
    return moved


def assert_same_in_world(volume: Volume, reference: nib.Nifti1Image, scale: float, within: float) -> None:
    """Equal values at equal world coordinates, whatever way the axes of either run."""
    expected = on_grid_of(volume, np.asarray(reference.dataobj, dtype=np.float64), reference.affine)
    expected = expected[..., np.newaxis] if expected.ndim == 3 else expected
    assert volume.array.shape[0] == expected.shape[3]
    for moment, array in enumerate(volume.array):
        np.testing.assert_allclose(array * scale, expected[..., moment], rtol=1e-5, atol=within)


def precise_scale(series: Series) -> float:
    """What Philips' precise values are, in units of the standard's: 1 / (RescaleSlope x private ScaleSlope).

    dcm2niix writes the precise values; radfed reads what the standard defines.
    """
    dataset = pydicom.dcmread(series.first.path, stop_before_pixels=True)
    private = dataset.PerFrameFunctionalGroupsSequence[0][0x2005, 0x140F][0]
    slope = series.slices[0].frame.slope
    assert slope is not None
    return 1 / (slope * float(private[0x2005, 0x100E].value))


def test_a_label_made_elsewhere_lies_on_the_grid_of_its_scan() -> None:
    assert DATA is not None
    scanned = read_series(find(Row("totalseg_ct", None)))
    label = nib.load(Path(DATA, "totalseg_ct", "example_seg_dicom.nii.gz"))
    mapped = on_grid_of(scanned.volume, np.asarray(label.dataobj), label.affine)
    # Labelled voxels are tissue: far denser on average than the air around.
    assert scanned.volume.array[0][mapped > 0].mean() > scanned.volume.array[0][mapped == 0].mean() + 300


def test_a_tilted_scan_is_corrected_where_asked() -> None:
    for part in (1, 2):
        scanned = read_series(find(Row(TILTED, 2, part)), ReadOptions(correct_tilt=True))
        matrix = scanned.volume.affine[:3, :3] / scanned.volume.spacing
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-6)
        assert scanned.steps == ("resampled a tilted stack upright",)
        assert set(scanned.sources[0]) == {()}


def test_pictures_of_test_patients_are_no_volumes() -> None:
    reasons = set()
    for series in index(PHI).series:
        with pytest.raises(DataError) as caught:
            read_series(series, ReadOptions(min_slices=1))
        reasons.add(caught.value.reason)
    assert reasons == {"unsupported_pixels", "missing_geometry"}
    assert len(index(PHI).archives) == 1


def test_a_field_map_holds_the_stored_values_of_its_reference() -> None:
    assert DATA is not None
    series = find(Row(ENHANCED, 801, 2))
    frame = series.slices[0].frame
    assert frame.slope is not None
    assert frame.intercept is not None
    volume = read_series(series).volume
    reference = nib.load(Path(DATA, ENHANCED, "Ref/Philips_WIP_B0_NS_801_e2_fieldmaphz.nii"))
    stored = np.rint((volume.array[0].astype(np.float64) - frame.intercept) / frame.slope)
    np.testing.assert_array_equal(stored, on_grid_of(volume, reference.dataobj.get_unscaled(), reference.affine))


def test_every_source_is_named_once() -> None:
    series = find(Row(ENHANCED, 6))
    scanned = read_series(series)
    named = [source for volume in scanned.sources for source in volume]
    assert len(set(named)) == len(named) == len(series.slices)


def corners_of(shape: tuple[int, ...]) -> NDArray[np.float64]:
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in shape], indexing="ij")).reshape(3, -1)
    return np.vstack([corners, np.ones(corners.shape[1])])


def index_map(matrix: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    moved = np.einsum("ab,bijk->aijk", matrix[:3, :3], np.indices(shape)) + matrix[:3, 3].reshape(3, 1, 1, 1)
    return np.asarray(moved, dtype=np.int64)
