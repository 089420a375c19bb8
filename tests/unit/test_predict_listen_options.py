"""The options of ``radfed predict --listen``."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from radfed.cli.main import app


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give INPUT, or --listen"),
        (["scans", "--listen", "AE@127.0.0.1:11112"], "and not both"),
        (["scans", "--quiet", "3"], "belong to --listen"),
        (["scans", "--accept", "PACS"], "belong to --listen"),
        (["--listen", "AE@127.0.0.1:11112", "--covariates", "table.csv"], "takes scans alone"),
        (["--listen", "127.0.0.1:11112"], "AE title"),
        (["--listen", "AE@127.0.0.1:11112", "--quiet", "0"], "greater than 0"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, arguments: list[str], problem: str) -> None:
    done = CliRunner().invoke(app, ["predict", "release", *arguments, "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert problem in " ".join(done.output.split())
