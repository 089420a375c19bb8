"""A real CT from its DICOM files to a mask and a SEG (totalseg_ct, see README, RADFED_DATA)."""

import os
from pathlib import Path

import numpy as np
import pytest
from dicom_hospital import write_threshold  # type: ignore[import-not-found]
from numpy.typing import NDArray

from radfed.imaging.dicom.index import index_folder
from radfed.imaging.nifti import read_label, to_ras
from radfed.imaging.volume import Volume
from radfed.inference.model import OnnxModel
from radfed.inference.predict import Prediction, predict
from radfed.release.cases import dicom_cases
from radfed.release.dicom_parity import check_dicom
from radfed.release.witness import read_planes, segment_points
from radfed.task import SegmentationTask

DATA = Path(os.environ.get("RADFED_DATA") or "nowhere", "totalseg_ct")
BONE_HU = 200.0
# Vertebrae, limbs and pelvis, ribs: values of TotalSegmentator's labels.
BONES = (*range(25, 51), *range(69, 79), *range(92, 118))

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="totalseg_ct is not under $RADFED_DATA")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that calls bone what is above 200 HU, on the scanner's own spacing."""
    task = SegmentationTask.check(
        {
            "name": "bone",
            "description": "Finds what is dense.",
            "intended_use": "Trying the software.",
            "channels": [{"name": "ct", "modality": "CT"}],
            "labels": [
                {"value": 7, "name": "bone", "code": {"scheme": "SCT", "value": "272673000", "meaning": "Bone"}}
            ],
            "orientation": "LPS",
            "spacing": [0.9765625, 0.9765625, 2.0],
            "intensity": {"rule": "window", "lower": 0.0, "upper": 2 * BONE_HU},
            "roi_size": [256, 256, 16],
            "overlap": 0.0,
            "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2]}},
        },
        "test",
    )
    path: Path = write_threshold(tmp_path_factory.mktemp("model") / "model.onnx", task, above=0.5)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Prediction]:
    out = tmp_path_factory.mktemp("out")
    [found] = predict(model, DATA / "example_ct_dicom", out, threads=1)
    assert found.reason is None, found.message
    return out, found


def in_order(points: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered: NDArray[np.float64] = points[np.lexsort(np.round(points, 2).T)]
    return ordered


def mask_points(mask: Volume) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.argwhere(mask.array[0] > 0) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return in_order(found)


def test_mask_and_seg_lie_where_the_headers_put_the_pixels(results: tuple[Path, Prediction]) -> None:
    out, found = results
    [series] = index_folder(DATA / "example_ct_dicom").series
    dense = []
    for instance in series.instances:
        [plane] = read_planes(instance.path)
        rows, columns = np.nonzero(plane.units > BONE_HU)
        dense.append(plane.points(columns, rows))
    expected = in_order(np.concatenate(dense))
    assert len(expected) > 10_000
    np.testing.assert_allclose(mask_points(read_label(out / str(found.mask))), expected, atol=0.01)
    np.testing.assert_allclose(in_order(segment_points(out / str(found.seg))["bone"]), expected, atol=0.01)
    voxel_ml = 0.9765625 * 0.9765625 * 2.0 / 1000
    assert found.volumes_ml["bone"] == pytest.approx(len(expected) * voxel_ml, rel=1e-4)


def test_mask_lies_on_the_grid_of_the_reference_label_and_on_its_bones(results: tuple[Path, Prediction]) -> None:
    out, found = results
    mask = to_ras(read_label(out / str(found.mask)))
    label = to_ras(read_label(DATA / "example_seg_dicom.nii.gz"))
    assert mask.shape == label.shape
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in mask.shape], [1], indexing="ij")).reshape(4, -1)
    assert float(np.abs((mask.affine - label.affine) @ corners).max()) < 0.01
    bones, dense = np.isin(label.array[0], BONES), mask.array[0] > 0
    inside = float(np.mean(dense[bones]))
    mirrored = max(float(np.mean(np.flip(dense, axis)[bones])) for axis in range(2))
    assert inside > 0.4, "the reference's bones are dense"
    assert inside > 2 * mirrored, "a mirrored mask would miss them"


def test_the_gate_passes_from_these_files_to_the_seg(model: Path) -> None:
    onnx_model = OnnxModel.load(model, threads=1)
    task = onnx_model.task
    assert isinstance(task, SegmentationTask)
    [case] = dicom_cases([DATA / "example_ct_dicom"], task)
    check = check_dicom(1, case, task, onnx_model, onnx_model, 1e-4)
    assert check.labelled
    assert check.largest_distance_mm < 1e-3
    assert "JPEG 2000" in check.transfer_syntax
