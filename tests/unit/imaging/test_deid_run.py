import json
import stat
from pathlib import Path

import dicom_files as files  # type: ignore[import-not-found]
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from radfed.errors import InvalidInputError
from radfed.imaging.deid import run
from radfed.imaging.deid.identity import patient_pseudonym
from radfed.imaging.deid.run import DeidReport, Pairs, deidentify
from radfed.imaging.deid.settings import DeidSettings

SECRET = b"r" * 32
SR = "1.2.840.10008.5.1.4.1.1.88.33"


def _write(path: Path, **values: object) -> Dataset:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset: Dataset = files.dataset(np.arange(64, dtype=np.uint16).reshape(8, 8), **values)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def _run(source: Path, out: Path, **settings: object) -> DeidReport:
    return deidentify(source, out, SECRET, DeidSettings.model_validate({"ocr": False} | settings), lambda pairs: None)


def _lines(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]


def test_outputs_are_named_by_pseudonyms_and_new_uids(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "Doe^Jane" / "scan.dcm", PatientID="P1", InstanceNumber=1)
    report = _run(tmp_path / "in", tmp_path / "out")
    (written,) = (tmp_path / "out").rglob("*.dcm")
    dataset = pydicom.dcmread(written)
    assert written.relative_to(tmp_path / "out").parts == (
        patient_pseudonym(SECRET, "P1"),
        dataset.StudyInstanceUID,
        dataset.SeriesInstanceUID,
        f"{dataset.SOPInstanceUID}.dcm",
    )
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dict(report.pseudonyms) == {patient_pseudonym(SECRET, "P1"): "P1"}
    assert (report.written, report.patients, report.refused, report.reasons) == (1, 1, 0, {})


def test_one_bad_file_never_stops_the_others(tmp_path: Path) -> None:
    source = tmp_path / "in"
    good = _write(source / "good.dcm", InstanceNumber=1)
    _write(source / "cut.dcm", InstanceNumber=2, SeriesInstanceUID=files.uid("other"))
    _write(source / "copy.dcm", InstanceNumber=1)
    _write(source / "liar.dcm", SOPInstanceUID=good.SOPInstanceUID, SeriesDescription="T1")
    report_object = _write(
        source / "report.dcm", sop_class=SR, SeriesInstanceUID=files.uid("sr"), SOPInstanceUID="1.2.3.4"
    )
    for keyword in ("PixelData", "Rows", "Columns"):
        del report_object[keyword]
    report_object.save_as(source / "report.dcm", enforce_file_format=True)
    (source / "cut.dcm").write_bytes((source / "cut.dcm").read_bytes()[:200])
    (source / "notes.txt").write_text("Doe, Jane")
    (source / "more.zip").write_bytes(b"PK")
    report = _run(source, tmp_path / "out")
    assert report.written == 1
    assert (report.duplicates, report.foreign) == (1, 1)
    assert report.reasons == {"archive": 1, "duplicate": 1, "unreadable": 1, "unsupported_object": 1}
    assert {line["reason"] for line in _lines(tmp_path / "out")} == set(report.reasons)
    meanings = dict(report.pseudonyms)
    refused = {meanings[line["id"]] for line in _lines(tmp_path / "out")}
    assert (
        {"cut.dcm", "report.dcm", "more.zip"} < refused < {"cut.dcm", "report.dcm", "more.zip", "liar.dcm", "copy.dcm"}
    )
    assert not list((tmp_path / "out").rglob("*.txt"))


def test_a_name_that_the_site_allowed_is_caught_by_the_second_look(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "one.dcm", PatientName="Zorvath^Quennell", SeriesDescription="T1 Zorvath")
    report = _run(tmp_path / "in", tmp_path / "out", descriptors=("zorvath",))
    assert report.reasons == {"residual_identifier": 1}
    assert not list((tmp_path / "out").rglob("*.dcm"))
    assert "orvath" not in (tmp_path / "out" / "quarantine.jsonl").read_text()
    assert _run(tmp_path / "in", tmp_path / "again").written == 1


def test_pseudonyms_are_remembered_before_anything_appears(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "one.dcm")
    seen: list[Pairs] = []

    def remember(pairs: Pairs) -> None:
        assert not (tmp_path / "out").exists()
        seen.append(pairs)

    report = deidentify(tmp_path / "in", tmp_path / "out", SECRET, DeidSettings(), remember)
    assert seen == [report.pseudonyms]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "one.dcm")

    def remember(pairs: Pairs) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        deidentify(tmp_path / "in", tmp_path / "out", SECRET, DeidSettings(), remember)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_ends_the_run_and_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "in" / "one.dcm")

    def full(dataset: Dataset, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "_save", full)
    with pytest.raises(OSError, match="No space"):
        _run(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_progress_reaches_the_number_of_files(tmp_path: Path) -> None:
    for number in range(3):
        _write(tmp_path / "in" / f"{number}.dcm", InstanceNumber=number)
    steps: list[tuple[int, int]] = []
    deidentify(
        tmp_path / "in", tmp_path / "out", SECRET, DeidSettings(), lambda pairs: None, lambda *step: steps.append(step)
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_files_whose_uids_were_emptied_get_new_ones(tmp_path: Path) -> None:
    for number in (1, 2):
        values = {"StudyInstanceUID": "", "SeriesInstanceUID": "", "SOPInstanceUID": "", "InstanceNumber": number}
        _write(tmp_path / "in" / f"{number}.dcm", **values)
    assert _run(tmp_path / "in", tmp_path / "out").written == 2
    written = [pydicom.dcmread(path) for path in (tmp_path / "out").rglob("*.dcm")]
    assert len({one.StudyInstanceUID for one in written}) == len({one.SeriesInstanceUID for one in written}) == 1
    assert len({one.SOPInstanceUID for one in written}) == 2


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_every_encoding_is_kept(tmp_path: Path, syntax: str) -> None:
    source = _write(tmp_path / "in" / "one.dcm", syntax=syntax)
    _run(tmp_path / "in", tmp_path / "out")
    (written,) = (tmp_path / "out").rglob("*.dcm")
    dataset = pydicom.dcmread(written)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert dataset.PixelData == source.PixelData


def test_places_that_would_mix_input_and_output_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "one.dcm")
    for out, words in (("in", "in use"), ("in/out", "lies in the source"), (".", "in use")):
        with pytest.raises(InvalidInputError, match=words):
            _run(tmp_path / "in", tmp_path / out)
    with pytest.raises(InvalidInputError, match="is no folder"):
        _run(tmp_path / "nowhere", tmp_path / "out")


def test_an_empty_folder_is_used_as_it_is_and_nothing_hidden_stays(tmp_path: Path) -> None:
    _write(tmp_path / "in" / "one.dcm")
    (tmp_path / "out").mkdir()
    _run(tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert stat.S_ISDIR((tmp_path / "out").stat().st_mode)
