"""SEG, RTSTRUCT and NIfTI labels of real scans, and results written back for them. RADFED_DATA names their folder."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from highdicom.seg import segread
from pydicom import dcmread

from radfed.errors import DataError
from radfed.imaging.dicom.index import Index, index_folder
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import read_series
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.nifti import read_label
from radfed.imaging.objects.grid import reorient_label
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.nifti_labels import match_nifti_label
from radfed.imaging.objects.seg import write_seg
from radfed.imaging.objects.sr import write_sr
from radfed.imaging.objects.structures import read_structures, references
from radfed.task import SegmentationTask

TASK = SegmentationTask.read(Path(__file__).parents[2] / "jobs" / "phantom_segmentation" / "task.yaml")


def data(name: str) -> Path:
    root = os.environ.get("RADFED_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"needs the data set {name} under the folder that RADFED_DATA names")
    return Path(root) / name


def problems(path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    found = subprocess.run(
        [str(Path(sys.executable).parent / "dciodvfy"), str(path)], capture_output=True, text=True, check=False
    )
    lines = (found.stdout + found.stderr).splitlines()
    assert any(line.strip() in ("Segmentation", "Comprehensive3DSR") for line in lines), lines
    return [line for line in lines if line.startswith("Error")]


def only_series(index: Index) -> ScannedVolume:
    (series,) = index.series
    return read_series(series, ReadOptions(min_slices=2))


def test_the_liver_is_read_as_highdicom_reads_it() -> None:
    folder = data("dicom_ct_liver_seg")
    index = index_folder(folder)
    scanned = only_series(index)
    (seg,) = index.objects
    assert references(seg.path).instances == {instance.sop_instance for instance in index.series[0].instances}
    label, names = to_label(read_structures(seg.path, scanned), scanned.volume, TASK)
    uids = [dcmread(source[0], stop_before_pixels=True).SOPInstanceUID for source in scanned.sources[0] if source]
    wanted = segread(seg.path).get_pixels_by_source_instance(uids, ignore_spatial_locations=True)[..., 0]
    np.testing.assert_array_equal(label.array[0], wanted.transpose(2, 1, 0))
    assert names == {1: "liver"}, "its SRT code is the task's SCT code"
    assert label.array.sum() > 100_000


def test_the_phantom_structure_set_and_its_two_broken_siblings() -> None:
    index = index_folder(data("dicom_ct_phantom_rtstruct"))
    scanned = only_series(index)
    paths = {one.path.name: one.path for one in index.objects}
    (region,) = read_structures(paths["rt.dcm"], scanned)
    # A square of 24 mm side, and within it a hole of 15 mm side with one corner cut off.
    i, j = np.meshgrid(*[np.arange(side) for side in scanned.volume.shape[:2]], indexing="ij")
    place = scanned.volume.affine @ np.stack([i.ravel(), j.ravel(), 0 * i.ravel(), 1 + 0 * i.ravel()])
    x, y = -place[0].reshape(i.shape), -place[1].reshape(i.shape)
    square = (x > -51) & (x < -27) & (y > -51) & (y < -27)
    hole = (x > -47) & (x < -32) & (y > -47) & (y < -32) & (x + y > -93)
    np.testing.assert_array_equal(region.mask[:, :, 0], square & ~hole)
    assert not region.mask[:, :, 1].any()
    for name in ("invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"):
        with pytest.raises(DataError, match="an image that is not in this volume") as caught:
            read_structures(paths[name], scanned)
        assert caught.value.reason == "label_reference"


def test_the_nifti_label_is_matched_by_its_grid_and_comes_back_as_seg(tmp_path: Path) -> None:
    folder = data("totalseg_ct")
    scanned = only_series(index_folder(folder / "example_ct_dicom"))
    paths = sorted(folder.glob("*.nii.gz"))
    found = match_nifti_label(paths, scanned.volume, {"folder": "example_ct_dicom"})
    assert found is not None
    assert found.name == "example_seg_dicom.nii.gz"
    original = read_label(found)
    organs = reorient_label(original, scanned.volume)
    assert sorted(np.unique(organs.array)) == sorted(np.unique(original.array))
    values = [int(value) for value in np.unique(organs.array) if value][:2]
    mask = np.zeros(scanned.volume.shape, dtype=np.uint8)
    for number, value in enumerate(values, start=1):
        mask[organs.array[0] == value] = number
    write_seg(tmp_path / "seg.dcm", mask, scanned, TASK, "0")
    write_sr(tmp_path / "sr.dcm", tmp_path / "seg.dcm", {"liver": 1.0, "spleen": 2.0}, scanned, TASK, "0")
    assert problems(tmp_path / "seg.dcm") == []
    assert problems(tmp_path / "sr.dcm") == []
    for structure, value in zip(read_structures(tmp_path / "seg.dcm", scanned), values, strict=True):
        np.testing.assert_array_equal(structure.mask, organs.array[0] == value)
    # The same places in the world as in the NIfTI file, by two independent libraries.
    volume = segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    inside = np.argwhere(volume.array == 1)
    world = (volume.affine @ np.c_[inside, np.ones(len(inside))].T)[:3] * [[-1], [-1], [1]]
    image = nib.load(found)
    index = np.linalg.solve(image.affine, np.vstack([world, np.ones(len(inside))]))[:3]
    assert np.abs(index - np.rint(index)).max() < 1e-3
    assert (np.asanyarray(image.dataobj)[tuple(np.rint(index).astype(int))] == values[0]).all()
    assert len(inside) == (original.array == values[0]).sum()


@pytest.mark.parametrize("name", ["dicom_enhanced", "dicom_nih_ge_siemens", "dicom_ge_ct_gantry_tilt"])
def test_results_for_real_scans_are_valid_and_read_back(name: str, tmp_path: Path) -> None:
    written = 0
    for series in index_folder(data(name)).series:
        try:
            scanned = read_series(series)
        except DataError:
            continue
        height, width, _ = scanned.volume.shape
        mask = np.zeros(scanned.volume.shape, dtype=np.uint8)
        mask[height // 4 : height // 2, width // 5 : width // 2, 1:-1] = 1
        mask[height // 2 : height // 2 + 9, width // 3 : width // 2, 1:3] = 2
        seg, sr = tmp_path / f"{written}.dcm", tmp_path / f"{written}_sr.dcm"
        write_seg(seg, mask, scanned, TASK, "0")
        write_sr(sr, seg, {"liver": 1.0, "spleen": 2.0}, scanned, TASK, "0")
        label, _ = to_label(read_structures(seg, scanned), scanned.volume, TASK)
        np.testing.assert_array_equal(label.array[0], mask)
        assert problems(seg) == []
        assert problems(sr) == []
        written += 1
    assert written > 0 or name == "dicom_ge_ct_gantry_tilt", "every series was refused"
