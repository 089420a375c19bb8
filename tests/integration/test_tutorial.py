"""The tutorial of a real federation does what it says, typed as it stands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.federation_setup import free_port

from radfed.ledger import FinalLine, read_ledger

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorials" / "real-federation.md"


@pytest.mark.slow
def test_the_tutorial_ends_with_a_verified_release(tmp_path: Path) -> None:
    for name in ("site_configs", "tools", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    command = [sys.executable, "tools/run_tutorial.py", str(PAGE), "--skip", "make setup", "--skip", ". .venv"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ports = {"FLARE_PORT": str(free_port()), "PROBE_PORT": str(free_port())}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | ports | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    final = read_ledger(tmp_path / "federation" / "run" / "ledger.jsonl")[-1]
    assert isinstance(final, FinalLine)
    assert final.outcome == "COMPLETED"
    assert "FAIL" not in done.stderr
    assert "first-model" in done.stdout, "the egress log names the campaign"
