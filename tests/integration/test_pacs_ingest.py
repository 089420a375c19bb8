"""From a real PACS to a dataset and back: whichever way, and however often interrupted, the same dataset."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from dicom_hospital import TASK, write_hospital, write_threshold  # type: ignore[import-not-found]
from pydicom import dcmread
from tests.integration.orthanc import settings_for
from tools.test_pacs import PASSWORD, USER, Orthanc

from radfed.dataset.layout import Dataset
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.objects.structures import read_structures
from radfed.imaging.pacs.address import parse_address
from radfed.imaging.pacs.retrieve import retrieve
from radfed.imaging.pacs.send import send

STUDIES = 10
LIMIT = 240


@pytest.fixture(scope="module", autouse=True)
def _credentials() -> None:
    os.environ["RADFED_PACS_USER"], os.environ["RADFED_PACS_PASSWORD"] = USER, PASSWORD


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, orthanc: Orthanc) -> Path:
    """Ten labelled studies, in a folder and in the PACS."""
    folder = tmp_path_factory.mktemp("hospital") / "export"
    write_hospital(folder, STUDIES)
    files = sorted(path for path in folder.rglob("*.dcm"))
    assert send(parse_address(orthanc.dicomweb), settings_for(orthanc), files, lambda *_: None).failed == ()
    return folder


@pytest.fixture(scope="module")
def expected(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the dataset that comes of the folder."""
    work = tmp_path_factory.mktemp("folder")
    result = json.loads(_finished(_start(str(hospital), work)))
    assert result["cases"] == STUDIES
    return Dataset.read(work / "dataset").digest


def _site(work: Path, pacs: Orthanc | None, **changes: object) -> None:
    """A site whose site.yaml fits the PACS."""
    if (work / "site").exists():
        return
    subprocess.run([*RADFED, "site", "init", str(work / "site"), "--name", "site-a"], check=True, capture_output=True)
    if pacs is not None:
        path = work / "site" / "site.yaml"
        content = yaml.safe_load(path.read_text())
        content["pacs"] = settings_for(pacs, None, **changes).model_dump(mode="json", exclude_defaults=True)
        path.write_text(yaml.safe_dump(content))


RADFED = (sys.executable, "-m", "radfed.cli.main")


def _start(source: str, work: Path, pacs: Orthanc | None = None, **changes: object) -> "subprocess.Popen[str]":
    _site(work, pacs, **changes)
    (work / "task.yaml").write_text(TASK.to_yaml())
    command = [*RADFED, "ingest", source, "--task", str(work / "task.yaml"), "--site", str(work / "site"), "--json"]
    # A session of its own: what is killed with it are its workers too.
    return subprocess.Popen(
        [*command, "--out", str(work / "dataset")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finished(process: "subprocess.Popen[str]") -> str:
    out, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors[-3000:]
    return out


@pytest.mark.parametrize("way", ["dicomweb", "get", "move"])
def test_every_way_gives_the_dataset_of_the_folder(
    way: str, expected: str, hospital: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    address = orthanc.dicomweb if way == "dicomweb" else orthanc.dimse
    changes = {} if way == "dicomweb" else {"retrieve": way}
    result = json.loads(_finished(_start(address, tmp_path, orthanc, **changes)))
    assert (result["cases"], result["quarantined"]) == (STUDIES, 0)
    assert Dataset.read(tmp_path / "dataset").digest == expected
    assert list((tmp_path / "site" / "spool").iterdir()) == []


def _spooled(work: Path, count: int) -> bool:
    try:
        return len(list((work / "site").glob("spool/*/*/*.dcm"))) >= count
    except FileNotFoundError:  # a folder went while we looked
        return False


def _converted(work: Path) -> bool:
    return bool(list(work.glob(".dataset.staging/images/*.nii.gz")))


def test_killed_at_three_points_it_ends_with_the_same_dataset(
    expected: str, hospital: Path, orthanc: Orthanc, tmp_path: Path
) -> None:
    total = sum(1 for _ in hospital.rglob("*.dcm"))
    points: dict[str, Callable[[], bool]] = {
        "a third has come": lambda: _spooled(tmp_path, total // 3),
        "most has come": lambda: _spooled(tmp_path, total * 3 // 4),
        "it converts": lambda: _converted(tmp_path),
    }
    for name, reached in points.items():
        process = _start(orthanc.dicomweb, tmp_path, orthanc, max_mbit=16.0)
        _wait_for(reached, process, name)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=LIMIT)
        assert not (tmp_path / "dataset").exists()
    there = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "site").glob("spool/*/*/*.dcm")}
    assert there
    _finished(_start(orthanc.dicomweb, tmp_path, orthanc))
    assert Dataset.read(tmp_path / "dataset").digest == expected


def _wait_for(reached: Callable[[], bool], process: "subprocess.Popen[str]", name: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not reached():
        assert process.poll() is None, f"it ended before {name}: {process.communicate()[1][-2000:]}"
        assert time.monotonic() < deadline, name
        time.sleep(0.01)


def test_masks_go_back_and_are_read_again(hospital: Path, orthanc: Orthanc, tmp_path: Path) -> None:
    _site(tmp_path, orthanc)
    study = sorted(path for path in hospital.iterdir())[0]
    shutil.copytree(study, tmp_path / "in", ignore=shutil.ignore_patterns("seg.dcm"))
    model = write_threshold(tmp_path / "model.onnx")
    done = subprocess.run(
        [
            *(*RADFED, "predict", str(model), str(tmp_path / "in"), "--out", str(tmp_path / "out")),
            *("--send", orthanc.dicomweb, "--site", str(tmp_path / "site"), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (series,) = index_folder(tmp_path / "in").series
    query = f"{orthanc.dicomweb}?StudyInstanceUID={series.study}"
    report = retrieve(parse_address(query), settings_for(orthanc), tmp_path / "spool")
    found = {dcmread(path, stop_before_pixels=True).SeriesDescription: path for path in report.files}
    by_modality = {str(dcmread(path, stop_before_pixels=True).Modality): path for path in report.files}
    assert {"MR", "SEG", "SR"} <= set(by_modality), found
    sent = [path for path in report.files if dcmread(path, stop_before_pixels=True).get("Manufacturer") == "radfed"]
    (seg,) = (path for path in sent if dcmread(path, stop_before_pixels=True).Modality == "SEG")
    (structure,) = (one for one in read_structures(seg, read_series(series)) if one.name == "bright")
    mask = nib.load(next((tmp_path / "out").glob("*.nii.gz")))
    np.testing.assert_array_equal(structure.mask, np.asarray(mask.dataobj) > 0)
    assert structure.mask.any()
