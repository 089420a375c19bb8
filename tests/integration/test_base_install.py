"""The base install in an environment of its own: what a clinic gets."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    for module in ("torch", "monai", "nvflare"):
        missing = subprocess.run([python, "-c", f"import {module}"], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in missing.stderr
    demo: list[str | Path] = [sys.executable, "-m", "radfed.cli.main", "demo", "--rounds", "1", "--local-steps", "2"]
    subprocess.run([*demo, "--out", tmp_path / "demo"], check=True)
    write_cohort(tmp_path / "scans", "hill", SCANNERS["hill"], 1, seed=9)
    radfed, release = tmp_path / "venv" / "bin" / "radfed", next((tmp_path / "demo" / "release").iterdir())
    subprocess.run([radfed, "release", "verify", release], check=True)
    subprocess.run([radfed, "predict", release, tmp_path / "scans" / "imagesTr", "--out", tmp_path / "out"], check=True)
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1
    study = tmp_path / "demo" / "hospitals" / "valley" / "phantom_valley_002"
    subprocess.run([radfed, "predict", release, study, "--out", tmp_path / "dicom"], check=True)
    assert len(list((tmp_path / "dicom").glob("*.seg.dcm"))) == 1
    subprocess.run(
        [radfed, "validate", release, tmp_path / "demo" / "datasets" / "north", "--out", tmp_path / "report"],
        check=True,
    )
    assert (tmp_path / "report" / "report.html").is_file()
