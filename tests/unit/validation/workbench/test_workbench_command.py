"""``radfed workbench`` as it is typed."""

import json
from pathlib import Path

import pytest
import typer
from tests.unit.validation.workbench.workbench_world import PASSWORD, World
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.workbench import workbench

app = typer.Typer(cls=GuardedGroup)
app.command("workbench")(workbench)
app.command("other")(lambda: None)  # with one command alone its name is not typed


def _add(state: Path, user: str, typed: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of adding somebody; neither release nor dataset need to be there."""
    line = ["workbench", "release", "dataset", "--state", str(state), "--add-user", user, "--json"]
    result = CliRunner().invoke(app, line, input=typed)
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_somebody_who_is_added_with_a_password_from_stdin_may_log_in(world: World) -> None:
    status, out, _ = _add(world.state, "dora:reader", "a password typed\n")
    assert (status, json.loads(out)["user"], json.loads(out)["role"]) == (0, "dora", "reader")
    login = {"user": "dora", "password": "a password typed"}
    assert world.stranger().post("/api/login", json=login).json()["role"] == "reader"
    assert _add(world.state, "dora:reader", "another one typed\n")[0] == 0
    assert world.stranger().post("/api/login", json=login).status_code == 401
    assert world.client("aud").get("/api/audit").json()["ok"] is True


@pytest.mark.parametrize(
    ("user", "typed", "says"),
    [
        ("dora:reader", "", "10 to 200 characters, got 0"),
        ("dora:reader", "\n", "10 to 200 characters, got 0"),
        ("dora:reader", "short\n", "10 to 200 characters, got 5"),
        ("dora:reader", "x" * 201 + "\n", "got 201"),
        ("dora:reader", "1111111111\n", "different characters"),
        ("ben:lead", PASSWORD + "\n", "ben is a reader already"),
        ("dora:king", PASSWORD + "\n", "NAME:ROLE"),
    ],
)
def test_a_bad_password_and_a_name_that_is_taken_are_refused(world: World, user: str, typed: str, says: str) -> None:
    before = (world.state / "audit.jsonl").read_bytes()
    status, out, err = _add(world.state, user, typed)
    assert (status, json.loads(out)["reason"]) == (2, "invalid_input")
    assert says in err
    assert not typed.strip() or typed.strip() not in out + err
    assert (world.state / "audit.jsonl").read_bytes() == before


def test_a_host_beyond_this_machine_without_tls_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    line = ["workbench", "release", "dataset", "--state", str(tmp_path / "state"), "--host", "0.0.0.0"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 3
    assert "--tls-cert" in result.stderr
    assert not (tmp_path / "state").exists()
