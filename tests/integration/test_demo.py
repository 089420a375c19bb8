"""The commands of the README, one after the other, as a user would type them."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from tests.integration.without_training import WITHOUT_TRAINING

from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.structures import read_structures
from radfed.imaging.phantom_dicom.cohort import cohort_patient
from radfed.validation.pdf import why_no_pdf

Json = dict[str, Any]


def radfed(*arguments: str | Path, code: int = 0) -> Json:
    """Run ``radfed ... --json`` and read its one object from stdout."""
    done = _run([sys.executable, "-m", "radfed.cli.main"], arguments)
    assert done.returncode == code, done.stderr[-3000:]
    result: Json = json.loads(done.stdout)
    return result


def radfed_base(*arguments: str | Path) -> Json:
    """The same without torch, monai and nvflare."""
    done = _run([sys.executable, "-c", WITHOUT_TRAINING + "from radfed.cli.main import main; main()"], arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    result: Json = json.loads(done.stdout)
    return result


def _run(command: list[str], arguments: tuple[str | Path, ...]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RADFED_DATA"}
    texts = [str(argument) for argument in arguments]
    return subprocess.run(
        [*command, *texts, "--json"], capture_output=True, text=True, check=False, env=environment, timeout=400
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Json]:
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, radfed("demo", "--out", out, "--rounds", "2", "--local-steps", "4", "--baselines")


def test_it_ends_with_a_release_a_report_and_where_the_time_went(demo: tuple[Path, Json]) -> None:
    out, result = demo
    assert result["outcome"] == "COMPLETED"
    assert set(result["baselines"]) == {"pooled", "local-north", "local-harbour", "local-valley"}
    spans = {"data", "training", "evaluation", "FLARE", "baselines", "export", "report", "release"}
    assert set(result["seconds"]) == spans
    report = Path(result["report"]).read_text()
    assert "PHANTOM DATA" in report
    assert "<img" in report
    if why_no_pdf():
        assert result["pdf"] is None
    else:
        assert Path(result["pdf"]).read_bytes().startswith(b"%PDF-")
    assert (out / "run" / "comparison.json").is_file()


def test_each_hospitals_bad_studies_are_quarantined(demo: tuple[Path, Json]) -> None:
    expected = {"north": [], "harbour": [], "valley": ["no_label"]}
    for site, more in expected.items():
        lines = (demo[0] / "datasets" / site / "quarantine.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["reason"] for line in lines) == ["burned_in_text", "gap", *more]


def test_no_planted_name_is_left_in_dataset_release_report_or_deidentified_files(demo: tuple[Path, Json]) -> None:
    """The first study carries names in nested sequences, private tags, descriptions and file meta as well."""
    out, _ = demo
    patients = [cohort_patient("north", 0, number) for number in range(24)]
    names = {name.encode() for patient in patients for name in (patient.family, patient.id, patient.accession)}
    source = next((out / "hospitals" / "north" / "phantom_north_001").glob("*.dcm")).read_bytes()
    assert patients[0].id.encode() in source
    deidentified = list((out / "deidentified" / "north").rglob("*.dcm"))
    assert len(deidentified) > 24
    written = [path for part in ("datasets/north", "release", "report") for path in (out / part).rglob("*")]
    for path in (*deidentified, *written):
        if path.is_file():
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            assert [name for name in names if name in content or name in str(path).encode()] == [], path


def test_the_release_verifies_with_and_without_torch(demo: tuple[Path, Json]) -> None:
    release = demo[1]["release"]
    key = ("--public-key", str(Path(release).parents[1] / "signer.pem.pub"))
    with_torch = radfed("release", "verify", release, *key)
    without = radfed_base("release", "verify", release, *key)
    for report, missing in ((with_torch, set()), (without, {"rebuild"})):
        assert report["ok"]
        open_claims = {claim["name"] for claim in report["claims"] if claim["verdict"] != "PASS"}
        assert open_claims == {"site_metrics", "leakage", "signoff"} | missing


def test_what_travels_holds_no_case_and_no_picture(demo: tuple[Path, Json]) -> None:
    out, result = demo
    cases = [json.loads(x) for x in (out / "datasets" / "north" / "cases.jsonl").read_text().splitlines()]
    for path in Path(result["release"]).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for case in cases:
                assert case["id"].encode() not in content, path.name
                assert case["patient"].encode() not in content, path.name
            assert str(out).encode() not in content, path.name
    assert "data:image/png" not in (Path(result["release"]) / "evaluation" / "report.html").read_text()


def test_a_clinic_predicts_and_validates_without_torch(demo: tuple[Path, Json], tmp_path: Path) -> None:
    out, result = demo
    study = out / "hospitals" / "valley" / "phantom_valley_002"
    predicted = radfed_base("predict", result["release"], study, "--out", tmp_path / "masks")["predictions"]
    assert len(predicted) == 1
    scan = read_series(index_folder(study).series[0])
    mask = nib.load(tmp_path / "masks" / predicted[0]["mask"])
    assert mask.shape == scan.volume.shape
    np.testing.assert_allclose(mask.affine, scan.volume.affine, atol=1e-4)
    truth, _ = to_label(read_structures(study / "seg.dcm", scan), scan.volume, None)
    (seg,) = (tmp_path / "masks").glob("*.seg.dcm")
    found, _ = to_label(read_structures(seg, scan), scan.volume, None)
    np.testing.assert_array_equal(found.array[0], np.asarray(mask.dataobj))
    # A few steps of training find something, on the right side of the body.
    assert (found.array > 0).sum() > 0.1 * (truth.array > 0).sum()
    asked = ("validate", result["release"], out / "datasets" / "north", "--no-pdf", "--out", tmp_path / "report")
    again = radfed_base(*asked)
    mine = result["summary"]["sites"]["north"]["mean"]["dice"]["mean"]
    assert again["pooled"]["mean"]["dice"]["mean"] == pytest.approx(mine)


def test_the_demo_does_not_touch_a_folder_in_use(demo: tuple[Path, Json]) -> None:
    error = radfed("demo", "--out", demo[0], code=2)
    assert "is not empty" in error["error"]


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    error = radfed(
        "demo", "--data", "msd_hippocampus_none", "--job", "hippocampus_segmentation", "--out", tmp_path, code=2
    )
    assert "RADFED_DATA" in error["error"]
