import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from threshold_model import threshold_task, write_threshold_model  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.predict import predict as predict_command
from radfed.errors import GateError, InvalidInputError
from radfed.imaging.nifti import read_image, to_ras, write_image
from radfed.imaging.volume import Volume
from radfed.inference.checksums import file_digest
from radfed.inference.predict import Prediction, predict


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path: Path = write_threshold_model(tmp_path / "model.onnx", threshold_task())
    return path


@pytest.fixture
def scan() -> Volume:
    """RAS, with a bright L-shaped part that no axis swap or flip maps onto itself."""
    array = np.random.default_rng(3).uniform(0, 20, size=(1, 24, 18, 14)).astype(np.float32)
    array[0, 3:9, 4:7, 2:12] = 90
    array[0, 3:20, 4:7, 2:4] = 90
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    affine[:3, 3] = (-11.0, 7.0, 30.0)
    return Volume(array, affine)


def stored_as(volume: Volume, axes: str) -> Volume:
    """The same scan with its axes stored in another order and direction."""
    transform = nib.orientations.ornt_transform(
        nib.io_orientation(volume.affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    array = nib.orientations.apply_orientation(volume.array[0], transform)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(transform, volume.shape)
    return Volume(np.ascontiguousarray(array)[np.newaxis], affine)


def mask_of(path: Path) -> NDArray[np.uint8]:
    return np.asarray(nib.load(path).dataobj)


def one(predictions: list[Prediction]) -> Prediction:
    assert len(predictions) == 1
    return predictions[0]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "IRP", "SAL"])
def test_mask_is_the_same_in_the_world_however_the_scan_is_stored(
    tmp_path: Path, model: Path, scan: Volume, axes: str
) -> None:
    write_image(tmp_path / "ras.nii.gz", scan)
    write_image(tmp_path / "other.nii.gz", stored_as(scan, axes))
    for name in ("ras", "other"):
        assert one(predict(model, tmp_path / f"{name}.nii.gz", tmp_path / "out", threads=1)).reason is None
    mask = nib.load(tmp_path / "out" / "other.nii.gz")
    image = nib.load(tmp_path / "other.nii.gz")
    assert nib.aff2axcodes(mask.affine) == tuple(axes)
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    back = to_ras(read_image(tmp_path / "out" / "other.nii.gz"))
    reference = read_image(tmp_path / "out" / "ras.nii.gz")
    np.testing.assert_allclose(back.affine, reference.affine, atol=1e-4)
    np.testing.assert_array_equal(back.array, reference.array)
    # The network looks one voxel towards the patient's left, in the patient and not in the file.
    expected = np.zeros(scan.shape, dtype=bool)
    expected[1:] = scan.array[0, :-1] > 50
    np.testing.assert_array_equal(reference.array[0] == 3, expected)


def test_volumes_are_in_ml(tmp_path: Path, model: Path, scan: Volume) -> None:
    nib.save(nib.Nifti1Image(scan.array[0], scan.affine), tmp_path / "a.nii")
    prediction = one(predict(model, tmp_path / "a.nii", tmp_path / "out"))
    assert prediction.mask == "a.nii.gz"
    voxels = int((mask_of(tmp_path / "out" / "a.nii.gz") == 3).sum())
    assert prediction.volumes_ml == {"bright": pytest.approx(voxels * 3.0 / 1000, abs=1e-4)}
    assert voxels == int((scan.array > 50).sum())


def test_channels_are_the_last_axis_of_a_4d_file(tmp_path: Path, scan: Volume) -> None:
    model = write_threshold_model(tmp_path / "two.onnx", threshold_task(channels=2))
    both = Volume(np.concatenate([scan.array, scan.array]), scan.affine)
    write_image(tmp_path / "a.nii.gz", both)
    assert one(predict(model, tmp_path / "a.nii.gz", tmp_path / "out")).reason is None
    assert mask_of(tmp_path / "out" / "a.nii.gz").shape == scan.shape


def test_one_bad_file_stops_no_other_and_says_why(tmp_path: Path, model: Path, scan: Volume) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_image(source / "good.nii.gz", scan)
    (source / "broken.nii.gz").write_bytes(b"not a scan")
    (source / "cut.nii.gz").write_bytes((source / "good.nii.gz").read_bytes()[:200])
    write_image(source / "two.nii.gz", Volume(np.concatenate([scan.array, scan.array]), scan.affine))
    write_image(source / "tiny.nii.gz", Volume(scan.array[:, :4], scan.affine))
    write_image(source / "huge.nii.gz", Volume(scan.array, np.diag([3.5, 3.5, 3.5, 1.0])))
    write_image(source / "thick.nii.gz", Volume(scan.array[:, :, :, :10], np.diag([1.0, 1.0, 5.0, 1.0])))
    nan = scan.array.copy()
    nan[0, 0, 0, 0] = np.nan
    write_image(source / "nan.nii.gz", Volume(nan, scan.affine))
    (source / "._good.nii.gz").write_bytes(b"macOS")
    (source / "notes.txt").write_text("no scan")
    seen: list[tuple[int, int]] = []
    found = predict(model, source, tmp_path / "out", on_progress=lambda done, total: seen.append((done, total)))
    assert {p.name.removesuffix(".nii.gz"): p.reason for p in found} == {
        "broken": "unreadable",
        "cut": "unreadable",
        "good": None,
        "huge": "implausible_size",
        "nan": "non_finite",
        "thick": "implausible_spacing",
        "tiny": "implausible_size",
        "two": "channel_mismatch",
    }
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.nii.gz"]
    assert seen[-1] == (8, 8)
    assert "10 x 10 x 10 to 60 x 60 x 60 mm" in next(str(p.message) for p in found if p.name.startswith("tiny"))


def test_limits_are_along_the_patient_not_along_the_file(tmp_path: Path, scan: Volume) -> None:
    task = threshold_task()
    task = task.model_copy(update={"limits": task.limits.model_copy(update={"max_size_mm": (25.0, 60.0, 60.0)})})
    model = write_threshold_model(tmp_path / "m.onnx", task)
    for axes in ("RAS", "SAL"):
        write_image(tmp_path / "a.nii.gz", stored_as(scan, axes))
        assert one(predict(model, tmp_path / "a.nii.gz", tmp_path / "out")).reason is None


def test_two_inputs_for_one_mask_are_both_refused(tmp_path: Path, model: Path, scan: Volume) -> None:
    source = tmp_path / "in"
    source.mkdir()
    write_image(source / "a.nii.gz", scan)
    nib.save(nib.load(source / "a.nii.gz"), source / "a.nii")
    assert [p.reason for p in predict(model, source, tmp_path / "out")] == ["same_name", "same_name"]


def test_refuses_to_write_masks_over_images(tmp_path: Path, model: Path, scan: Volume) -> None:
    write_image(tmp_path / "a.nii.gz", scan)
    before = (tmp_path / "a.nii.gz").read_bytes()
    with pytest.raises(InvalidInputError, match="masks would replace images"):
        predict(model, tmp_path / "a.nii.gz", tmp_path)
    assert (tmp_path / "a.nii.gz").read_bytes() == before


def test_refuses_sources_without_scans(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(b"x")
    for source, says in (
        (tmp_path / "in", "holds no scan; give"),
        (tmp_path / "in" / "a.dcm", "holds no scan; give"),
        (tmp_path / "x", "neither"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            predict(model, source, tmp_path / "out")


def test_a_release_folder_must_hold_the_model_that_it_lists(tmp_path: Path, scan: Volume) -> None:
    release = tmp_path / "release"
    release.mkdir()
    write_image(tmp_path / "a.nii.gz", scan)
    path = write_threshold_model(release / "model.onnx", threshold_task())
    with pytest.raises(InvalidInputError, match="SHA256SUMS: cannot be read"):
        predict(release, tmp_path / "a.nii.gz", tmp_path / "out")
    (release / "SHA256SUMS").write_text(f"{file_digest(path)}  model.onnx\n")
    assert one(predict(release, tmp_path / "a.nii.gz", tmp_path / "out")).reason is None
    (release / "SHA256SUMS").write_text(f"{'0' * 64}  model.onnx\n")
    with pytest.raises(GateError, match="not the one that the release lists"):
        predict(release, tmp_path / "a.nii.gz", tmp_path / "out")


def test_command_reports_each_file_and_exits_1_if_one_failed(tmp_path: Path, model: Path, scan: Volume) -> None:
    app = typer.Typer(cls=GuardedGroup)
    app.command("predict")(predict_command)
    app.command("other")(lambda: None)
    source = tmp_path / "in"
    source.mkdir()
    write_image(source / "a.nii.gz", scan)
    arguments = ["predict", str(model), str(source), "--out", str(tmp_path / "out"), "--threads", "1", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["predictions"][0]["mask"] == "a.nii.gz"
    (source / "b.nii").write_bytes(b"x")
    done = CliRunner().invoke(app, arguments)
    content = json.loads(done.stdout)
    assert (done.exit_code, content["ok"], content["failed"]) == (1, False, 1)
    assert content["predictions"][1]["reason"] == "unreadable"
    done = CliRunner().invoke(
        app, ["predict", str(tmp_path / "none.onnx"), str(source), "--out", str(tmp_path / "out")]
    )
    assert done.exit_code == 2
