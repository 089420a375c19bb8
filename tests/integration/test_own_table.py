"""The tutorial of a table of one's own, as it stands: its three files, its commands, tables made up here."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "own-table.md"
HEADER = ("stay", "person", "age", "sex", "crp", "readmitted")


def write_stays(path: Path, seed: int, count: int = 90) -> None:
    """Stays of people who come back the more, the higher their CRP was."""
    random = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for number in range(count):
            crp = random.exponential(45)
            again = int(crp + random.normal(0, 15) > 35)
            known = f"{crp:.1f}" if random.random() > 0.1 else ""
            age, sex = random.integers(20, 95), "fm"[random.integers(2)]
            rows.writerow([f"S{number:03}", f"P{number // 2:03}", age, sex, known, again])


@pytest.mark.slow
def test_every_command_of_the_page_runs_and_the_answers_make_sense(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "readmission").mkdir()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for name, block in zip(("task.yaml", "job.yaml", "mapping.yaml"), blocks, strict=True):
        (tmp_path / "readmission" / name).write_text(block, encoding="utf-8")
    for seed, site in enumerate(("north", "south")):
        write_stays(tmp_path / f"{site}.csv", seed)
    (tmp_path / "new.csv").write_text("case,age,sex,crp\nlow,60,female,2\nhigh,60,female,180\nunknown,60,male,\n")
    commands = [line for line in text.splitlines() if line.startswith("radfed ")]
    assert len(commands) == 7
    for command in commands:
        words = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    with (tmp_path / "answers" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        answers = {row["case"]: row for row in csv.DictReader(file)}
    assert set(answers) == {"low", "high", "unknown"}
    assert float(answers["low"]["readmitted"]) + 0.2 < float(answers["high"]["readmitted"])
    assert not any(row["reason"] for row in answers.values())
