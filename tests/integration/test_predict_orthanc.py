"""``radfed predict --send``: SEG and SR reach a real PACS, and read back from it they are the mask and its volumes."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import typer
import yaml
from tests.integration.orthanc import settings_for
from tests.unit.inference.threshold_model import (
    threshold_task,
    write_threshold_model,
)
from tools.test_pacs import PASSWORD, USER, Orthanc
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.predict import predict
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.nifti import read_label
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.structures import read_structures
from radfed.imaging.pacs.address import parse_address
from radfed.imaging.pacs.retrieve import retrieve
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADFED_PACS_USER", USER)
    monkeypatch.setenv("RADFED_PACS_PASSWORD", PASSWORD)


@pytest.mark.parametrize("way", ["dicomweb", "dimse"])
def test_seg_and_sr_are_sent_and_read_again(orthanc: Orthanc, tmp_path: Path, way: str) -> None:
    array = np.random.default_rng(3).integers(0, 20, size=(1, 24, 18, 14)).astype(np.int16)
    array[0, 3:9, 4:7, 2:12] = 90
    array[0, 3:20, 4:7, 2:4] = 90
    scan = Volume(array, np.diag([-1.0, -1.5, 2.0, 1.0]))
    patient = fake_patient(np.random.default_rng(5 if way == "dimse" else 6))
    write_series(tmp_path / "in", scan, Flavour.CT, patient, seed=len(way))
    task = threshold_task()
    model = write_threshold_model(tmp_path / "model.onnx", task)
    settings = settings_for(orthanc)
    site = tmp_path / "site.yaml"
    site.write_text(yaml.safe_dump({"name": "clinic", "pacs": settings.model_dump(mode="json")}))
    address = orthanc.dicomweb if way == "dicomweb" else orthanc.dimse
    app = typer.Typer(cls=GuardedGroup)
    app.command("predict")(predict)
    app.command("other")(lambda: None)
    arguments = ["predict", str(model), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--send", address, "--site", str(site)])
    assert done.exit_code == 0, done.output
    [told] = json.loads(done.stdout)["predictions"]
    assert told["sent"] is True

    report = retrieve(parse_address(f"{address}?PatientID={patient.id}"), settings, tmp_path / "spool")
    objects = {pydicom.dcmread(path).Modality: path for path in report.files}
    assert set(objects) == {"SEG", "SR"}
    [series] = index_folder(tmp_path / "in").series
    scanned = read_series(series)
    label, names = to_label(read_structures(objects["SEG"], scanned), scanned.volume, task)
    np.testing.assert_array_equal(label.array, read_label(tmp_path / "out" / told["mask"]).array)
    assert names == {3: "bright"}
    assert int((label.array == 3).sum()) == int((array > 50).sum())
    text = pydicom.dcmread(objects["SR"]).to_json()
    assert f"{told['volumes_ml']['bright']:g}" in text
