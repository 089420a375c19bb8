"""From DICOM files to mask, SEG and SR, and back to the PACS."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import typer
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from threshold_model import threshold_task, write_threshold_model  # type: ignore[import-not-found]
from typer.testing import CliRunner

import radfed.imaging.objects.sr
import radfed.inference.sending
from radfed.cli.console import GuardedGroup
from radfed.cli.predict import predict as predict_command
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.nifti import read_label, write_image
from radfed.imaging.pacs.address import PacsAddress, parse_address
from radfed.imaging.pacs.failure import PacsError
from radfed.imaging.pacs.send import SendReport
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.phantoms_dicom import FakePatient, Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.inference.predict import Prediction, predict
from radfed.inference.sending import send_results
from radfed.release.witness import segment_points
from radfed.task import Channel, SegmentationTask, SeriesRule


@pytest.fixture
def patient() -> FakePatient:
    return fake_patient(np.random.default_rng(1))


@pytest.fixture
def scan() -> Volume:
    """Oblique, with pixels that are not square, and a bright L-shaped part that no flip maps onto itself."""
    array = np.random.default_rng(3).integers(0, 20, size=(1, 24, 18, 14)).astype(np.int16)
    array[0, 3:9, 4:7, 2:12] = 90
    array[0, 3:20, 4:7, 2:4] = 90
    affine = np.eye(4)
    axes = np.diag([-1.0, -1.5, 2.0])
    affine[:3, :3] = Rotation.from_euler("xyz", (8.0, -12.0, 5.0), degrees=True).as_matrix() @ axes
    affine[:3, 3] = (-11.0, 7.0, 30.0)
    return Volume(array, affine)


def model_of(folder: Path, rule: SeriesRule | None = None, modality: str = "OT", channels: int = 1) -> Path:
    task: SegmentationTask = threshold_task(channels)
    if rule is not None or modality != "OT":
        channel = Channel.check({"name": "c0", "modality": modality}, "test")
        task = task.model_copy(update={"channels": (channel.model_copy(update={"series": rule or SeriesRule()}),)})
    path: Path = write_threshold_model(folder / "model.onnx", task)
    return path


def one(predictions: Sequence[Prediction]) -> Prediction:
    assert len(predictions) == 1
    return predictions[0]


def points_of(mask: Path) -> NDArray[np.float64]:
    """World coordinates of a mask's voxels, sorted."""
    volume = read_label(mask)
    found = (volume.affine[:3, :3] @ np.argwhere(volume.array[0] == 3).T).T + volume.affine[:3, 3]
    return in_order(found)


def in_order(points: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = np.round(points, 2)
    ordered: NDArray[np.float64] = points[np.lexsort(rounded.T)]
    return ordered


@pytest.mark.parametrize("flavour", [Flavour.CT, Flavour.MR, Flavour.ENHANCED_MR])
def test_mask_seg_and_report_agree_and_lie_where_the_same_scan_as_nifti_has_its_mask(
    tmp_path: Path, scan: Volume, patient: FakePatient, flavour: Flavour
) -> None:
    model = model_of(tmp_path)
    write_series(tmp_path / "in" / "liver", scan, flavour, patient, seed=1)
    write_image(tmp_path / "scan.nii.gz", scan)
    out = tmp_path / "out"
    found = one(predict(model, tmp_path / "in" / "liver", out, threads=1))
    assert found.reason is None, found.message
    name = "s001_0001" if flavour is Flavour.ENHANCED_MR else "liver"
    assert (found.mask, found.seg, found.sr) == (f"{name}.nii.gz", f"{name}.seg.dcm", f"{name}.sr.dcm")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}{suffix}" for suffix in (".nii.gz", ".seg.dcm", ".sr.dcm")
    )
    reference = one(predict(model, tmp_path / "scan.nii.gz", tmp_path / "reference", threads=1))
    assert found.volumes_ml == reference.volumes_ml
    expected = points_of(tmp_path / "reference" / "scan.nii.gz")
    assert len(expected) == int((scan.array > 50).sum())
    np.testing.assert_allclose(points_of(out / str(found.mask)), expected, atol=1e-3)
    np.testing.assert_allclose(in_order(segment_points(out / str(found.seg))["bright"]), expected, atol=1e-3)
    report = pydicom.dcmread(out / str(found.sr))
    measured = [float(item) for item in numbers(report)]
    assert measured == [pytest.approx(found.volumes_ml["bright"], rel=1e-3)]
    assert report.PatientID == patient.id


def numbers(item: pydicom.Dataset) -> list[float]:
    """Every measured value of a report's content tree."""
    here = [float(value.NumericValue) for value in item.get("MeasuredValueSequence", [])]
    return here + [value for child in item.get("ContentSequence", []) for value in numbers(child)]


def test_a_folder_may_hold_studies_nifti_and_broken_files_and_each_gets_what_it_can(
    tmp_path: Path, scan: Volume, patient: FakePatient
) -> None:
    model, source = model_of(tmp_path), tmp_path / "in"
    for number, name in enumerate(("good", "gap", "thin")):
        who = replace(patient, id=f"ZZ{number}", study_id=f"ST{number}", study_date=f"2020010{number + 1}")
        shown = Volume(scan.array[..., :1], scan.affine) if name == "thin" else scan
        faults = frozenset({"gap"}) if name == "gap" else frozenset()
        write_series(source / name, shown, Flavour.MR, who, seed=number, faults=faults)  # type: ignore[arg-type]
    write_image(source / "plain.nii.gz", scan)
    whole = next((source / "good").glob("*.dcm")).read_bytes()
    (source / "cut.dcm").write_bytes(whole[:400])
    (source / "more.zip").write_bytes(b"PK")
    (source / "notes.txt").write_text("no scan")
    shutil.copy(source / "plain.nii.gz", source / "good.nii.gz")
    seen: list[tuple[int, int]] = []
    found = predict(model, source, tmp_path / "out", lambda done, total: seen.append((done, total)), threads=1)
    reasons = {prediction.name: prediction.reason for prediction in found}
    assert reasons == {
        "cut": "unreadable",
        "gap": "gap",
        "good-1": None,
        "good.nii.gz": None,
        "more.zip": "archive",
        "plain.nii.gz": None,
        "thin-s001_0001": "no_matching_series",
    }
    assert [prediction.name for prediction in found] == sorted(reasons)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "good-1.nii.gz",
        "good-1.seg.dcm",
        "good-1.sr.dcm",
        "good.nii.gz",
        "plain.nii.gz",
    ]
    assert seen == [(done, 7) for done in range(8)]
    assert not any(patient.id in str(prediction.message) for prediction in found)


def test_the_series_of_a_study_is_chosen_by_the_tasks_rule(tmp_path: Path, scan: Volume, patient: FakePatient) -> None:
    source = tmp_path / "in"
    dark = Volume(np.asarray(scan.array // 5), scan.affine)
    for number, (name, shown) in enumerate((("t1 tra", dark), ("T2 tra", scan), ("t2 fatsat", dark)), start=1):
        write_series(source, shown, Flavour.MR, patient, seed=number, series_number=number, description=name)
    model = model_of(tmp_path, SeriesRule(description="t2", exclude="fat"))
    found = one(predict(model, source, tmp_path / "out"))
    assert (found.name, found.reason, found.warnings) == ("in", None, ())
    assert found.volumes_ml["bright"] > 0, "the dark series were taken"
    model = model_of(tmp_path, SeriesRule(description="t2"))
    assert one(predict(model, source, tmp_path / "out")).reason == "ambiguous_series"
    model = model_of(tmp_path, SeriesRule(description="dwi"))
    assert one(predict(model, source, tmp_path / "out")).reason == "no_matching_series"


def test_the_only_series_is_meant_whatever_it_is_called_but_not_whatever_it_shows(
    tmp_path: Path, scan: Volume, patient: FakePatient
) -> None:
    write_series(tmp_path / "in", scan, Flavour.MR, patient, seed=1, description="t1")
    found = one(predict(model_of(tmp_path, SeriesRule(description="t2")), tmp_path / "in", tmp_path / "out"))
    assert found.reason is None
    assert "description does not match 't2'" in found.warnings[0]
    found = one(predict(model_of(tmp_path, modality="CT"), tmp_path / "in", tmp_path / "out"))
    assert found.reason == "no_matching_series"
    assert "modality MR, wanted CT" in str(found.message)


def test_channels_are_series_of_one_study_on_one_grid(tmp_path: Path, scan: Volume, patient: FakePatient) -> None:
    source = tmp_path / "in"
    task = threshold_task(channels=2)
    rules = [SeriesRule(description=name) for name in ("t1", "t2")]
    channels = tuple(c.model_copy(update={"series": rule}) for c, rule in zip(task.channels, rules, strict=True))
    model = write_threshold_model(tmp_path / "two.onnx", task.model_copy(update={"channels": channels}))
    write_series(source / "a", scan, Flavour.MR, patient, seed=1, series_number=1, description="t1")
    write_series(source / "b", scan, Flavour.MR, patient, seed=2, series_number=2, description="t2")
    found = one(predict(model, source, tmp_path / "out"))
    assert (found.reason, found.mask) == (None, "in.nii.gz")
    voxels = int((scan.array > 50).sum())
    assert found.volumes_ml["bright"] == pytest.approx(voxels * 3.0 / 1000, abs=1e-3)
    shutil.rmtree(source / "b")
    moved = scan.affine.copy()
    moved[0, 3] += 1.0
    write_series(
        source / "b", Volume(scan.array, moved), Flavour.MR, patient, seed=2, series_number=2, description="t2"
    )
    assert one(predict(model, source, tmp_path / "out")).reason == "affine_mismatch"
    shutil.rmtree(source / "b")
    assert one(predict(model, source, tmp_path / "out")).reason == "no_matching_series"


def test_what_reading_may_do_is_said_with_the_result(tmp_path: Path, scan: Volume, patient: FakePatient) -> None:
    write_series(tmp_path / "in", scan, Flavour.MR, patient, seed=1, faults=frozenset({"gap"}))
    model = model_of(tmp_path)
    assert one(predict(model, tmp_path / "in", tmp_path / "out")).reason == "gap"
    found = one(predict(model, tmp_path / "in", tmp_path / "out", reading=ReadOptions(interpolate_gaps=5)))
    assert found.reason is None, found.message
    assert "interpolated" in found.warnings[0]
    points = in_order(segment_points(tmp_path / "out" / str(found.seg))["bright"])
    np.testing.assert_allclose(points, points_of(tmp_path / "out" / str(found.mask)), atol=1e-3)


def test_a_result_is_whole_or_absent(
    tmp_path: Path, scan: Volume, patient: FakePatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DataError("label_reference", "cannot be written")

    write_series(tmp_path / "in", scan, Flavour.MR, patient, seed=1)
    monkeypatch.setattr(radfed.imaging.objects.sr, "write_sr", refuse)
    found = one(predict(model_of(tmp_path), tmp_path / "in", tmp_path / "out"))
    assert (found.reason, found.mask, found.seg) == ("label_reference", None, None)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_single_file_is_read_alone(tmp_path: Path, scan: Volume, patient: FakePatient) -> None:
    model = model_of(tmp_path)
    [whole] = write_series(tmp_path / "in", scan, Flavour.ENHANCED_CT, patient, seed=1)
    assert one(predict(model, whole, tmp_path / "out")).seg == "s001_0001.seg.dcm"
    [first, *_] = write_series(tmp_path / "classic", scan, Flavour.CT, patient, seed=1)
    assert one(predict(model, first, tmp_path / "out")).reason == "too_few_slices"
    with pytest.raises(InvalidInputError, match="masks would replace images"):
        predict(model, tmp_path / "classic", tmp_path / "classic")


def test_results_are_no_input(tmp_path: Path, scan: Volume, patient: FakePatient) -> None:
    write_series(tmp_path / "in" / "scan", scan, Flavour.MR, patient, seed=1)
    for _ in range(2):
        found = predict(model_of(tmp_path), tmp_path / "in", tmp_path / "in" / "results")
        assert [prediction.name for prediction in found] == ["scan"]
    shutil.rmtree(tmp_path / "in" / "scan")
    with pytest.raises(InvalidInputError, match=r"holds no scan but 2 DICOM object\(s\) that are no images"):
        predict(model_of(tmp_path), tmp_path / "in", tmp_path / "out")


def made(tmp_path: Path) -> list[Prediction]:
    """Two predictions with objects, one without."""
    found = []
    for name in ("a", "b"):
        seg, sr = f"{name}.seg.dcm", f"{name}.sr.dcm"
        found.append(Prediction(name, f"{name}.nii.gz", {"bright": 1.0}, 0.1, seg=seg, sr=sr))
    return [*found, Prediction("c.nii.gz", "c.nii.gz", {"bright": 1.0}, 0.1)]


def test_a_refused_object_is_told_and_the_others_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Path] = []

    def send(address: PacsAddress, settings: PacsSettings, files: Sequence[Path], on_progress: object) -> SendReport:
        given.extend(files)
        return SendReport(tuple(files[:3]), ((files[3], "0x0122"),))

    monkeypatch.setattr(radfed.inference.sending, "send", send)
    address = parse_address("dimse://PACS@localhost:104")
    found = send_results(made(tmp_path), tmp_path, address, PacsSettings())
    assert given == [tmp_path / name for name in ("a.seg.dcm", "a.sr.dcm", "b.seg.dcm", "b.sr.dcm")]
    assert [(one.sent, one.reason) for one in found] == [(True, None), (False, "not_sent"), (None, None)]
    assert "b.sr.dcm: 0x0122" in str(found[1].message)
    assert found[1].mask == "b.nii.gz"


def test_a_pacs_that_does_not_answer_costs_no_result(
    tmp_path: Path, scan: Volume, patient: FakePatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(*_: object) -> SendReport:
        raise PacsError("nobody answers")

    monkeypatch.setattr(radfed.inference.sending, "send", send)
    app = typer.Typer(cls=GuardedGroup)
    app.command("predict")(predict_command)
    app.command("other")(lambda: None)
    write_series(tmp_path / "in", scan, Flavour.MR, patient, seed=1)
    arguments = ["predict", str(model_of(tmp_path)), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--send", "dicomweb+http://localhost:9/dicom-web"])
    content = json.loads(done.stdout)
    assert (done.exit_code, content["ok"], content["failed"]) == (1, False, 1)
    [told] = content["predictions"]
    assert (told["reason"], told["sent"], told["mask"]) == ("not_sent", False, "in.nii.gz")
    assert "nobody answers; the files stay where they are" in told["message"]
    assert len(list((tmp_path / "out").iterdir())) == 3
    done = CliRunner().invoke(app, [*arguments, "--send", "ftp://localhost"])
    assert done.exit_code == 2
    assert "PACS address" in json.loads(done.stdout)["error"]


def test_a_site_says_what_reading_may_do(tmp_path: Path, scan: Volume, patient: FakePatient) -> None:
    app = typer.Typer(cls=GuardedGroup)
    app.command("predict")(predict_command)
    app.command("other")(lambda: None)
    write_series(tmp_path / "in", scan, Flavour.MR, patient, seed=1, faults=frozenset({"gap"}))
    site = tmp_path / "site.yaml"
    site.write_text("name: clinic\nreading: {interpolate_gaps: 5}\n")
    arguments = ["predict", str(model_of(tmp_path)), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--site", str(site)])
    assert done.exit_code == 0, done.output
    [told] = json.loads(done.stdout)["predictions"]
    assert (told["reason"], told["sent"], told["sr"]) == (None, None, "in.sr.dcm")
    assert "interpolated" in told["warnings"][0]
