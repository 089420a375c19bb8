"""The base install in an environment of its own: what a clinic gets."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.integration.outcome_kinds import known_case, task_of, trained_run, write_known, write_table

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_base_install_runs_a_model_and_has_no_torch(tmp_path: Path) -> None:
    """Needs the package index; ``make test-base-install``."""
    from radfed.imaging.phantoms import SCANNERS, write_cohort

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "-c",
        REPOSITORY / "constraints.txt",
        REPOSITORY,
    ]
    subprocess.run(install, check=True)
    answer_for_pictures_and_records(tmp_path / "venv" / "bin" / "radfed", tmp_path / "answers")
    for module in ("torch", "monai", "nvflare"):
        missing = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in missing.stderr
    demo: list[str | Path] = [sys.executable, "-m", "radfed.cli.main", "demo", "--rounds", "1", "--local-steps", "2"]
    subprocess.run([*demo, "--out", tmp_path / "demo"], check=True)
    write_cohort(tmp_path / "scans", "hill", SCANNERS["hill"], 1, seed=9)
    radfed, release = tmp_path / "venv" / "bin" / "radfed", next((tmp_path / "demo" / "release").iterdir())
    verify_signed(radfed, release, tmp_path / "demo" / "signer.pem.pub")
    subprocess.run([radfed, "predict", release, tmp_path / "scans" / "imagesTr", "--out", tmp_path / "out"], check=True)
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1
    study = tmp_path / "demo" / "hospitals" / "valley" / "phantom_valley_002"
    subprocess.run([radfed, "predict", release, study, "--out", tmp_path / "dicom"], check=True)
    assert len(list((tmp_path / "dicom").glob("*.seg.dcm"))) == 1
    validate: list[str | Path] = [radfed, "validate", release, tmp_path / "demo" / "datasets" / "north", "--no-pdf"]
    subprocess.run([*validate, "--out", tmp_path / "report"], check=True)
    assert (tmp_path / "report" / "report.html").is_file()


def verify_signed(radfed: Path, release: Path, public_key: Path) -> None:
    """All holds but what needs torch, and what nobody has said of a simulation's model."""
    asked: list[str | Path] = [radfed, "release", "verify", release, "--public-key", public_key, "--json"]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    verdicts = {claim["name"]: claim["verdict"] for claim in json.loads(done.stdout)["claims"]}
    unproven = {name for name, verdict in verdicts.items() if verdict != "PASS"}
    assert unproven == {"rebuild", "site_metrics", "leakage", "signoff"}
    assert verdicts["rebuild"] == "NOT VERIFIABLE"


def answer_for_pictures_and_records(radfed: Path, folder: Path) -> None:
    """The installed commands on a release of a task with one answer a case."""
    from radfed.release.package import build_release

    task = task_of("multimodal")
    dataset = write_known(folder / "site-a", task)
    release = build_release(trained_run(folder / "run", task), folder / "releases", datasets=[dataset])
    (folder / "images").mkdir()
    numbers = {"healthy": 3, "sick": 2}
    cases = {name: known_case(task, number) for name, number in numbers.items()}
    for name, case in cases.items():
        assert case.volume is not None
        pixels = case.volume.array[0, :, :, 0].T.astype(np.uint16)
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / "images" / f"{name}.png")
    table = write_table(folder / "records.csv", {name: case.record for name, case in cases.items()}, ("crp", "sex"))
    subprocess.run([radfed, "release", "verify", release], check=True)
    asked: list[str | Path] = [radfed, "predict", release, folder / "images", "--covariates", table]
    subprocess.run([*asked, "--out", folder / "out"], check=True)
    with (folder / "out" / "predictions.csv").open(newline="") as file:
        assert {row["case"]: row["answer"] for row in csv.DictReader(file)} == {"healthy": "normal", "sick": "ill"}
    subprocess.run([radfed, "validate", release, dataset, "--no-pdf", "--out", folder / "report"], check=True)
    assert (folder / "report" / "report.html").is_file()
    assert json.loads((folder / "report" / "metrics.json").read_text())["pooled"]["auroc"]["value"] > 0.7
