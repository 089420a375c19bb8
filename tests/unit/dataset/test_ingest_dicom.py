import gzip
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_cases import a_mask, a_patient, a_scan, write_study  # type: ignore[import-not-found]

from radfed.dataset.check import check
from radfed.dataset.fingerprint_measure import case_values, cells
from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.layout import Case, Dataset
from radfed.dataset.pseudonyms import patient_pseudonym, read_map
from radfed.dataset.traits import band_of
from radfed.errors import DatasetRefusedError, InvalidInputError
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.nifti import to_ras, write_image
from radfed.imaging.phantoms_dicom import IDENTIFIER_FAULTS, Flavour, planted_values, write_series
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask

SECRET = b"s" * 32


@pytest.fixture
def lenient(settings: IngestSettings) -> IngestSettings:
    return replace(settings, max_refused=0.9, processes=1)


def reasons(out: Path) -> list[str]:
    return sorted(json.loads(line)["reason"] for line in (out / "quarantine.jsonl").read_text().splitlines())


def case_of(dataset: Dataset, number: int) -> Case:
    patient = patient_pseudonym(SECRET, a_patient(number).id)
    (case,) = (case for case in dataset.cases if case.patient == patient)
    return case


def test_every_series_is_a_case_with_its_voxels_in_their_place(lenient: IngestSettings, tmp_path: Path) -> None:
    scans = {number: write_study(tmp_path / "in" / str(number), number) for number in range(3)}
    report = ingest(tmp_path / "in", tmp_path / "out", lenient)
    dataset = Dataset.read(tmp_path / "out")
    assert (report.cases, report.patients, report.quarantined) == (3, 3, 0)
    assert dataset.phantom
    for number, scan in scans.items():
        case = case_of(dataset, number)
        expected, got = to_ras(scan), dataset.image(case)
        np.testing.assert_array_equal(got.array, expected.array)
        np.testing.assert_allclose(got.affine, expected.affine, atol=1e-4)
        assert case.modality == "MR"
        assert case.scanner is not None
        assert case.scanner.manufacturer == "SIEMENS"
        assert case.steps == ()
    assert check(dataset).problems == ()


def test_sex_and_age_are_kept_for_the_site_as_groups_alone(
    lenient: IngestSettings, tmp_path: Path, task: SegmentationTask
) -> None:
    patients = {number: a_patient(number) for number in range(4)}
    for number in patients:
        write_study(tmp_path / "in" / str(number), number, task)
    ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=task))
    dataset = Dataset.read(tmp_path / "out")
    for number, patient in patients.items():
        case = case_of(dataset, number)
        assert (case.sex, case.projection) == (patient.sex, None)
        assert case.age_band == band_of(int(patient.age[:3]))
        said = case.model_dump(mode="json", exclude={"label_volumes"})
        assert not {patient.age, patient.birth_date, patient.study_date, int(patient.age[:3])} & {
            value for value in said.values() if isinstance(value, (str, int))
        }
    silent = tuple(one.model_copy(update={"sex": None, "age_band": None}) for one in dataset.cases)
    without = replace(dataset, cases=silent)
    # Nothing of it is in what a site tells others of its dataset.
    assert dataset.digest == without.digest
    assert cells(dataset, task) == cells(without, task)
    np.testing.assert_equal(case_values(dataset, task), case_values(without, task))


def test_names_order_copies_and_packing_of_files_do_not_matter(lenient: IngestSettings, tmp_path: Path) -> None:
    for number in range(3):
        write_study(tmp_path / "in" / str(number), number)
    ingest(tmp_path / "in", tmp_path / "out", lenient)
    files = sorted((tmp_path / "in").rglob("*.dcm"))
    random.Random(4).shuffle(files)
    for number, file in enumerate([*files, files[0]]):
        target = tmp_path / "other" / str(number % 5) / f"IM{number}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    report = ingest(tmp_path / "other", tmp_path / "again", lenient)
    assert Dataset.read(tmp_path / "again").digest == Dataset.read(tmp_path / "out").digest
    assert any("exact copies" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("flavour", "compression"),
    [
        (Flavour.MR, "rle"),
        (Flavour.MR, "jpeg2000"),
        (Flavour.MR, "jpegls"),
        (Flavour.ENHANCED_MR, "none"),
        (Flavour.CT, "deflated"),
        (Flavour.ENHANCED_CT, "rle"),
    ],
)
def test_flavour_and_compression_do_not_matter(
    flavour: Flavour, compression: str, lenient: IngestSettings, tmp_path: Path
) -> None:
    write_study(tmp_path / "plain", 1)
    write_study(tmp_path / "packed", 1, flavour=flavour, compression=compression)
    ingest(tmp_path / "plain", tmp_path / "one", lenient)
    ingest(tmp_path / "packed", tmp_path / "two", lenient)
    assert Dataset.read(tmp_path / "one").cases[0].digest == Dataset.read(tmp_path / "two").cases[0].digest


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("gap", "gap"),
        ("tilt", "tilt"),
        ("mixed_spacing", "mixed_spacing"),
        ("mixed_orientation", "mixed_orientation"),
        ("overlapping", "overlapping_slices"),
        ("missing_geometry", "missing_geometry"),
        ("missing_rescale", "missing_rescale"),
        ("burned_in", "burned_in_text"),
    ],
)
def test_a_bad_series_is_refused_for_its_own_reason_and_the_others_go_on(
    fault: str, reason: str, lenient: IngestSettings, tmp_path: Path
) -> None:
    write_study(tmp_path / "in" / "good", 1)
    write_study(tmp_path / "in" / "bad", 2, flavour=Flavour.CT, faults=[fault])
    report = ingest(tmp_path / "in", tmp_path / "out", lenient)
    assert (report.cases, report.reasons) == (1, {reason: 1})


def test_what_reading_did_to_voxels_is_recorded(lenient: IngestSettings, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 2, faults=["gap"])
    allowed = replace(lenient, reading=ReadOptions(interpolate_gaps=1))
    ingest(tmp_path / "in", tmp_path / "out", allowed)
    (case,) = Dataset.read(tmp_path / "out").cases
    assert len(case.steps) == 1
    assert "1 missing slice" in case.steps[0]


def test_scouts_archives_and_broken_files_are_listed(lenient: IngestSettings, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_study(source, 1, faults=["localizer"])
    (source / "old.zip").write_bytes(b"PK")
    (source / "notes.txt").write_text("hello")
    whole = next(source.glob("*.dcm")).read_bytes()
    (source / "torn.dcm").write_bytes(whole[:400])
    report = ingest(source, tmp_path / "out", lenient)
    assert report.cases == 1
    assert set(report.reasons) == {"archive", "localizer", "unreadable"}
    assert any("1 files are not DICOM" in warning for warning in report.warnings)


def test_seg_labels_are_found_by_reference_and_mapped_by_name(
    task: SegmentationTask, lenient: IngestSettings, tmp_path: Path
) -> None:
    for number in range(2):
        write_study(tmp_path / "in" / f"image{number}", number, task)
    labels = tmp_path / "in" / "labels"
    labels.mkdir()
    for number in range(2):
        (tmp_path / "in" / f"image{number}" / "label.dcm").rename(labels / f"{1 - number}.dcm")
    other = task.model_copy(update={"labels": tuple(reversed(task.labels))})
    report = ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=other))
    dataset = Dataset.read(tmp_path / "out")
    assert report.cases == 2
    for number in range(2):
        case = case_of(dataset, number)
        expected = to_ras(Volume(a_mask()[np.newaxis], a_scan(number).affine))
        np.testing.assert_array_equal(dataset.label(case).array, expected.array)
        assert case.label_volumes == {1: 12 * 12.0, 2: 18 * 12.0}


def test_one_unusable_label_object_does_not_spoil_the_others(
    task: SegmentationTask, lenient: IngestSettings, tmp_path: Path
) -> None:
    write_study(tmp_path / "in", 1, task)
    seg = pydicom.dcmread(tmp_path / "in" / "label.dcm")
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    for frame in seg.PerFrameFunctionalGroupsSequence:
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [x, y, z + 1.0]
    seg.save_as(tmp_path / "in" / "shifted.dcm")
    report = ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=task))
    (case,) = Dataset.read(tmp_path / "out").cases
    assert report.reasons == {"affine_mismatch": 1}
    assert case.label_volumes == {1: 12 * 12.0, 2: 18 * 12.0}
    assert case.steps == ("left out 1 of 2 label objects, which could not be used",)


def test_nifti_labels_are_found_by_name_and_by_grid(
    task: SegmentationTask, lenient: IngestSettings, tmp_path: Path
) -> None:
    for number in range(2):
        scan = write_study(tmp_path / "in" / f"study{number}", number)
        shifted = scan.affine.copy()
        label = Volume(a_mask()[np.newaxis], shifted)
        write_image(tmp_path / "in" / f"study{number}_seg.nii.gz", to_ras(label))
    report = ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=task))
    assert (report.cases, report.reasons) == (2, {})
    assert {tuple(case.label_volumes) for case in Dataset.read(tmp_path / "out").cases} == {(1, 2)}


def test_a_label_without_images_and_an_image_without_label_are_refused(
    task: SegmentationTask, lenient: IngestSettings, tmp_path: Path
) -> None:
    write_study(tmp_path / "in" / "good", 1, task)
    write_study(tmp_path / "elsewhere", 2, task)
    shutil.copyfile(tmp_path / "elsewhere" / "label.dcm", tmp_path / "in" / "orphan.dcm")
    write_study(tmp_path / "in" / "unlabelled", 3)
    ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=task))
    assert reasons(tmp_path / "out") == ["label_reference", "no_label"]


def two_channels(task: SegmentationTask, prefer: str | None = None) -> SegmentationTask:
    content = task.model_dump(mode="json")
    content["channels"] = [
        {"name": "t1", "modality": "MR", "series": {"description": "t1", "prefer": prefer}},
        {"name": "t2", "modality": "MR", "series": {"description": r"\bt2", "exclude": "loc"}},
    ]
    return SegmentationTask.check(content, source="test")


def write_pair(folder: Path, number: int, second: int = 0) -> tuple[Volume, Volume]:
    """Two series of one patient on one grid."""
    patient, scans = a_patient(number), (a_scan(number), a_scan(number + 100))
    for serial, (scan, words) in enumerate(zip(scans, ("t1 axial", "t2 axial"), strict=True), start=1):
        write_series(folder, scan, Flavour.MR, patient, seed=number, series_number=serial, description=words)
    if second:
        write_series(folder, a_scan(77), Flavour.MR, patient, seed=number, series_number=9, description="t1 again")
    return scans


def test_series_become_channels_by_rule(task: SegmentationTask, lenient: IngestSettings, tmp_path: Path) -> None:
    first, second = write_pair(tmp_path / "in", 1)
    write_image(tmp_path / "in" / "in_label.nii.gz", Volume(a_mask()[np.newaxis], first.affine))
    ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=two_channels(task)))
    dataset = Dataset.read(tmp_path / "out")
    (case,) = dataset.cases
    expected = np.concatenate([to_ras(first).array, to_ras(second).array])
    np.testing.assert_array_equal(dataset.image(case).array, expected)


@pytest.mark.parametrize(("prefer", "reason"), [(None, "ambiguous_series"), ("first", None), ("last", None)])
def test_several_fitting_series_are_not_guessed_between(
    prefer: str | None, reason: str | None, task: SegmentationTask, lenient: IngestSettings, tmp_path: Path
) -> None:
    first, _ = write_pair(tmp_path / "in", 1, second=1)
    write_pair(tmp_path / "in" / "more", 2)
    for folder in ("in", "more"):
        place = tmp_path / "in" / ("" if folder == "in" else folder)
        write_image(place / f"{folder}_label.nii.gz", Volume(a_mask()[np.newaxis], first.affine))
    report = ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=two_channels(task, prefer)))
    assert report.reasons == ({} if reason is None else {reason: 1})
    if reason is None:
        dataset = Dataset.read(tmp_path / "out")
        taken = first if prefer == "first" else a_scan(77)
        np.testing.assert_array_equal(dataset.image(case_of(dataset, 1)).array[:1], to_ras(taken).array)


def test_a_study_without_one_of_the_channels_is_refused_and_others_are_passed_over(
    task: SegmentationTask, lenient: IngestSettings, tmp_path: Path
) -> None:
    first, _ = write_pair(tmp_path / "in" / "good", 1)
    write_image(tmp_path / "in" / "good_label.nii.gz", Volume(a_mask()[np.newaxis], first.affine))
    write_study(tmp_path / "in" / "lacking", 2, description="t1 only")
    write_study(tmp_path / "in" / "foreign", 3, flavour=Flavour.CT, description="t1 said a CT")
    report = ingest(tmp_path / "in", tmp_path / "out", replace(lenient, task=two_channels(task)))
    assert (report.cases, report.reasons) == (1, {"no_matching_series": 1})
    assert any("1 series are no channel" in warning for warning in report.warnings)


def test_nothing_that_identifies_the_patient_is_in_the_dataset(lenient: IngestSettings, tmp_path: Path) -> None:
    faults = sorted(IDENTIFIER_FAULTS - {"burned_in", "unflagged_text"})
    write_study(tmp_path / "in", 1, faults=faults)
    ingest(tmp_path / "in", tmp_path / "out", lenient)
    planted = {value.encode() for value in planted_values(a_patient(1))}
    headers = pydicom.dcmread(next((tmp_path / "in").glob("*.dcm")))
    planted |= {str(headers[name].value).encode() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            assert [value for value in planted if value in content or value in path.name.encode()] == []


def test_a_header_that_would_carry_a_name_into_the_dataset_refuses_the_case(
    lenient: IngestSettings, tmp_path: Path
) -> None:
    write_study(tmp_path / "in" / "good", 1)
    write_study(tmp_path / "in" / "bad", 2)
    for path in (tmp_path / "in" / "bad").glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.ManufacturerModelName = f"Scanner of {a_patient(2).family}"
        dataset.save_as(path)
    report = ingest(tmp_path / "in", tmp_path / "out", lenient)
    assert (report.cases, report.reasons) == (1, {"residual_identifier": 1})
    assert a_patient(2).family not in (tmp_path / "out" / "quarantine.jsonl").read_text()
    assert len(list((tmp_path / "out" / "images").iterdir())) == 1


def test_what_a_pacs_did_not_give_refuses_its_case(lenient: IngestSettings, tmp_path: Path) -> None:
    write_study(tmp_path / "in" / "a", 1)
    write_study(tmp_path / "in" / "b", 2)
    uid = pydicom.dcmread(next((tmp_path / "in" / "b").glob("*.dcm"))).SeriesInstanceUID
    files = sorted((tmp_path / "in").rglob("*.dcm"))
    report = ingest(tmp_path / "in", tmp_path / "out", lenient, files=files, missing={uid: 2, "1.2.3": 9})
    assert (report.cases, report.reasons) == (1, {"not_retrieved": 2})


def test_the_way_back_is_in_the_sites_map_only(lenient: IngestSettings, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1)
    ingest(tmp_path / "in", tmp_path / "out", lenient)
    (case,) = Dataset.read(tmp_path / "out").cases
    names = read_map(lenient.pseudonyms)
    assert names[case.patient] == a_patient(1).id
    assert names[case.id] == pydicom.dcmread(next((tmp_path / "in").glob("*.dcm"))).SeriesInstanceUID


def test_a_folder_in_which_nothing_passes_is_refused(lenient: IngestSettings, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1, faults=["burned_in"])
    with pytest.raises(DatasetRefusedError, match="burned_in_text"):
        ingest(tmp_path / "in", tmp_path / "out", lenient)
    assert not (tmp_path / "out").exists()


def test_patients_of_dicom_files_are_not_given_twice(lenient: IngestSettings, tmp_path: Path) -> None:
    write_study(tmp_path / "in", 1)
    with pytest.raises(InvalidInputError, match="DICOM files say themselves"):
        ingest(tmp_path / "in", tmp_path / "out", replace(lenient, patients={"a": "b"}))


def test_explain_says_what_each_series_is_and_writes_nothing(task: SegmentationTask, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from radfed.cli.main import app

    write_pair(tmp_path / "in", 1, second=1)
    (tmp_path / "task.yaml").write_text(two_channels(task, "last").to_yaml())
    args = ["ingest", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--explain", "--json"]
    result = CliRunner().invoke(app, [*args, "--task", str(tmp_path / "task.yaml")])
    assert result.exit_code == 0, result.stderr
    lines = {line["series_number"]: line for line in json.loads(result.stdout)["series"]}
    assert lines[9]["verdict"] == "taken as t1"
    assert lines[2]["verdict"] == "taken as t2"
    assert lines[1]["verdict"].startswith("passed over: t2: description does not match")
    assert lines[1]["plane"] == "axial"
    assert (lines[1]["slices"], lines[1]["slice_distance"]) == (8, 4.0)
    assert not (tmp_path / "out").exists()


def test_explain_of_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from radfed.cli.main import app

    (tmp_path / "in").mkdir()
    result = CliRunner().invoke(
        app, ["ingest", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--explain", "--json"]
    )
    assert result.exit_code == 2
    assert "holds no DICOM" in json.loads(result.stdout)["error"]
