import json
import stat
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.pseudonyms import patient_pseudonym, read_map
from radfed.site.config import PSEUDONYMS_FILE, init_site, read_secret

runner = CliRunner()


def _write(path: Path, number: int, sop_class: str = "1.2.840.10008.5.1.4.1.1.4") -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, f"1.3.6.1.4.1.99999.3.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.3.6.1.4.1.99999.1", f"1.3.6.1.4.1.99999.2.{number}"
    dataset.PatientName, dataset.PatientID = "Zorvath^Quennell", "P-77"
    dataset.Modality, dataset.SeriesDescription = "MR", "T1 Zorvath"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 8
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.add_new("PixelData", "OW", np.arange(64, dtype=np.uint16).tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    init_site(tmp_path / "site", "site-a")
    return tmp_path / "site"


def test_it_says_what_was_written_and_keeps_the_map_at_the_site(tmp_path: Path, site: Path) -> None:
    _write(tmp_path / "in" / "a.dcm", 1)
    _write(tmp_path / "in" / "b.dcm", 2, sop_class="1.2.840.10008.5.1.4.1.1.6.1")
    arguments = ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), "--site", str(site / "site.yaml"), "--json"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report | {"out": ""} == {
        "out": "",
        "written": 1,
        "patients": 1,
        "quarantined": 1,
        "reasons": {"burned_in_text": 1},
        "duplicates": 0,
        "foreign": 0,
    }
    pseudonym = patient_pseudonym(read_secret(site), "P-77")
    known = read_map(site / PSEUDONYMS_FILE)
    assert known[pseudonym] == "P-77"
    assert "b.dcm" in known.values()
    assert stat.S_IMODE((site / PSEUDONYMS_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == [pseudonym]
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 2
    assert not any(b"orvath" in path.read_bytes() for path in written)


def test_it_fails_if_nothing_could_be_written_and_says_why(tmp_path: Path, site: Path) -> None:
    _write(tmp_path / "in" / "b.dcm", 2, sop_class="1.2.840.10008.5.1.4.1.1.6.1")
    result = runner.invoke(app, ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), "--site", str(site)])
    assert result.exit_code == 1
    assert "no file could be de-identified" in result.stderr
    assert "burned_in_text 1" in result.stderr
    assert json.loads((tmp_path / "out" / "quarantine.jsonl").read_text())["reason"] == "burned_in_text"


def test_a_wrong_place_is_a_usage_error(tmp_path: Path, site: Path) -> None:
    _write(tmp_path / "in" / "a.dcm", 1)
    for source, out in (("nowhere", "out"), ("in", "in/out"), ("in", "site")):
        arguments = ["deidentify", str(tmp_path / source), str(tmp_path / out), "--site", str(site), "--json"]
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2
        assert json.loads(result.stdout)["reason"] == "invalid_input"
