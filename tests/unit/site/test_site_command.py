import json
from pathlib import Path

from typer.testing import CliRunner

from radfed.cli.main import app

runner = CliRunner()


def test_init_once_and_never_twice(tmp_path: Path) -> None:
    first = runner.invoke(app, ["site", "init", str(tmp_path / "s"), "--name", "site-a", "--json"])
    assert first.exit_code == 0
    assert json.loads(first.stdout)["site"] == "site-a"
    second = runner.invoke(app, ["site", "init", str(tmp_path / "s"), "--name", "site-a", "--json"])
    assert second.exit_code == 2
    assert json.loads(second.stdout)["reason"] == "invalid_input"


def test_bad_name_is_explained_on_stderr(tmp_path: Path) -> None:
    result = runner.invoke(app, ["site", "init", str(tmp_path / "s"), "--name", "a b"])
    assert result.exit_code == 2
    assert "error:" in result.stderr
    assert "name" in result.stderr
    assert result.stdout == ""
