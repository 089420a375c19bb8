import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.task import SegmentationTask

runner = CliRunner()


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write_cohort(tmp_path / "source", "site-a", SCANNERS["harbour"], cases=5, seed=3)
    return tmp_path / "source"


def run(*args: object) -> tuple[int, dict[str, object], str]:
    result = runner.invoke(app, [str(arg) for arg in args])
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}, result.stderr


def test_ingest_then_check(cohort: Path, tmp_path: Path, task: SegmentationTask) -> None:
    (tmp_path / "task.yaml").write_text(task.to_yaml())
    out = tmp_path / "out"
    code, report, _ = run(
        "ingest", cohort, "--task", tmp_path / "task.yaml", "--out", out, "--site-name", "site-a", "--json"
    )
    assert code == 0
    assert report["cases"] == 5
    assert report["site"] == "site-a"
    assert (tmp_path / "out.site" / "pseudonyms.csv").is_file()
    code, quality, table = run("dataset", "check", out, "--task", tmp_path / "task.yaml", "--json")
    assert code == 0
    assert quality["ok"] is True
    assert "PHANTOM" in table


def test_check_of_a_spoilt_dataset_exits_1_with_a_report(cohort: Path, tmp_path: Path) -> None:
    run("ingest", cohort, "--out", tmp_path / "out")
    next((tmp_path / "out/images").iterdir()).write_bytes(b"spoilt")
    code, quality, text = run("dataset", "check", tmp_path / "out", "--json")
    assert code == 1
    assert quality["ok"] is False
    assert "unreadable" in text


def test_without_json_stdout_is_silent(cohort: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["ingest", str(cohort), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "5 cases of 5 patients" in result.stderr


def test_refusal_exits_1_and_says_why_in_both_tongues(cohort: Path, tmp_path: Path) -> None:
    for path in sorted((cohort / "labelsTr").iterdir())[:3]:
        path.unlink()
    code, answer, text = run("ingest", cohort, "--out", tmp_path / "out", "--json")
    assert code == 1
    assert answer["reason"] == "dataset_refused"
    assert answer["exit_code"] == 1
    assert "no_label 3" in text
    assert run("ingest", cohort, "--out", tmp_path / "out", "--max-refused", "0.7")[0] == 0


@pytest.mark.parametrize("source", ["nowhere", "ftp://pacs", "dicomweb+https://pacs/web?Colour=red"])
def test_bad_source_exits_2(tmp_path: Path, source: str) -> None:
    code, answer, text = run("ingest", source, "--out", tmp_path / "out", "--json")
    assert code == 2
    assert answer["reason"] == "invalid_input"
    assert "error:" in text


def test_usage_error_exits_2() -> None:
    assert runner.invoke(app, ["ingest"]).exit_code == 2


def test_site_yaml_decides_and_options_override(cohort: Path, tmp_path: Path) -> None:
    run("site", "init", tmp_path / "site", "--name", "hospital-7")
    file = tmp_path / "site" / "site.yaml"
    file.write_text(file.read_text().replace("validation: 0.1", "validation: 0.0").replace("test: 0.2", "test: 0.0"))
    code, report, _ = run("ingest", cohort, "--site", file, "--out", tmp_path / "out", "--json")
    assert code == 0
    assert report["site"] == "hospital-7"
    assert report["splits"] == {"training": 5, "validation": 0, "test": 0}
    assert not (tmp_path / "out.site").exists()


def test_open_secret_exits_3(cohort: Path, tmp_path: Path) -> None:
    run("site", "init", tmp_path / "site", "--name", "hospital-7")
    (tmp_path / "site" / "secret.key").chmod(0o644)
    code, answer, _ = run(
        "ingest", cohort, "--site", tmp_path / "site" / "site.yaml", "--out", tmp_path / "out", "--json"
    )
    assert code == 3
    assert answer["reason"] == "refused"


def test_patients_csv(cohort: Path, tmp_path: Path) -> None:
    csv = tmp_path / "patients.csv"
    csv.write_text("id,patient\n" + "".join(f"phantom_a_{n:03d},p{n % 2}\n" for n in range(1, 6)))
    assert run("ingest", cohort, "--patients", csv, "--out", tmp_path / "out", "--json")[1]["patients"] == 2
    csv.write_text("case,who\nphantom_a_001,p1\n")
    code, answer, _ = run("ingest", cohort, "--patients", csv, "--out", tmp_path / "out", "--json")
    assert code == 2
    assert "needs the columns id,patient" in str(answer["error"])


def test_an_interrupt_exits_130_and_leaves_nothing(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radfed.dataset.ingest.write_lists", interrupt)
    code, answer, _ = run("ingest", cohort, "--out", tmp_path / "out", "--json")
    assert code == 130
    assert answer["reason"] == "interrupted"
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_version_and_help() -> None:
    from radfed import __version__

    assert __version__ in runner.invoke(app, ["--version"]).stdout
    for command in (["--help"], ["ingest", "--help"], ["dataset", "check", "--help"], ["site", "init", "--help"]):
        assert runner.invoke(app, command).exit_code == 0
