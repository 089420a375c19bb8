import json
from pathlib import Path

import pytest

# pytest puts this folder on the path, mypy does not.
from record_cases import MAPPING, outcome_task, rows, tabular_task, write_source  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.records_mapping import TableMapping


def run(*args: object) -> tuple[int, dict[str, object], str]:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}, result.stderr


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with table, pictures, task and mapping."""
    folder: Path = write_source(tmp_path / "source", rows())
    (folder / "task.yaml").write_text(outcome_task().to_yaml())
    (folder / "mapping.yaml").write_text(TableMapping.check(MAPPING, "mapping.yaml").to_yaml())
    return folder


def test_ingest_then_check(source: Path, tmp_path: Path) -> None:
    out, task = tmp_path / "out", source / "task.yaml"
    options = ["--table", source / "table.csv", "--mapping", source / "mapping.yaml", "--task", task, "--out", out]
    code, report, text = run("ingest", source, *options, "--where", "site=a", "--where", "site=b", "--json")
    assert (code, report["cases"], report["outcomes"]) == (0, 12, {"no_icu": 6, "icu": 6})
    assert "icu: 6 cases" in text
    assert (tmp_path / "out.site" / "pseudonyms.csv").is_file()
    code, quality, table = run("dataset", "check", out, "--task", task, "--json")
    assert (code, quality["ok"], quality["missing"]) == (0, True, {"age": 0, "sex": 0, "crp": 1})
    assert "crp missing (cases)" in table
    lines = (out / "cases.jsonl").read_text().replace('"age":42.0', '"age":24.0')
    (out / "cases.jsonl").write_text(lines)
    code, quality, text = run("dataset", "check", out, "--json")
    assert code == 1
    assert "digest_mismatch" in text


def test_one_class_only_is_said(source: Path, tmp_path: Path) -> None:
    (source / "task.yaml").write_text(tabular_task().to_yaml())
    mapping = TableMapping.check({**MAPPING, "image": None}, "mapping.yaml")
    (source / "mapping.yaml").write_text(mapping.to_yaml())
    options = ["--mapping", source / "mapping.yaml", "--task", source / "task.yaml", "--out", tmp_path / "out"]
    code, report, text = run("ingest", source / "table.csv", *options, "--where", "site=b", "--json")
    assert (code, report["outcomes"]) == (0, {"no_icu": 0, "icu": 6})
    assert "this site alone teaches no difference" in text
    assert "this site alone" in run("dataset", "check", tmp_path / "out", "--task", source / "task.yaml")[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--table", "table.csv", "--task", "task.yaml"], "needs --mapping"),
        (["--where", "site=a", "--task", "task.yaml"], "needs --mapping"),
        (["--table", "table.csv", "--mapping", "mapping.yaml"], "give --task"),
        (["--mapping", "mapping.yaml", "--task", "task.yaml"], "give the table with --table"),
        (["--mapping", "mapping.yaml", "--task", "task.yaml", "--explain"], "--explain is about DICOM series"),
        (["--task", "task.yaml"], "give them with --table and --mapping"),
        (
            ["--table", "table.csv", "--mapping", "mapping.yaml", "--task", "task.yaml", "--where", "site"],
            "COLUMN=VALUE",
        ),
        (
            ["--table", "table.csv", "--mapping", "mapping.yaml", "--task", "task.yaml", "--patients", "patients.csv"],
            "the mapping names the patient's column",
        ),
    ],
)
def test_what_does_not_go_together_exits_2(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    (source / "patients.csv").write_text("id,patient\na,b\n")
    monkeypatch.chdir(source)
    code, answer, _ = run("ingest", source, *options, "--out", tmp_path / "out", "--json")
    assert code == 2
    assert words in str(answer["error"])


def test_a_table_without_images_for_a_task_with_some_exits_2(source: Path, tmp_path: Path) -> None:
    options = ["--mapping", source / "mapping.yaml", "--task", source / "task.yaml", "--out", tmp_path / "out"]
    code, answer, _ = run("ingest", source / "table.csv", *options, "--json")
    assert code == 2
    assert "the mapping names images; give their folder" in str(answer["error"])


def test_no_part_of_the_source_is_overwritten(source: Path) -> None:
    options = ["--table", source / "table.csv", "--mapping", source / "mapping.yaml", "--task", source / "task.yaml"]
    assert run("ingest", source, *options, "--out", source / "png", "--json")[0] == 2
