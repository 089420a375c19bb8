import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import typer
from campaign_world import DIGEST, FakeFlare, Fate, Time, export, small_job  # type: ignore[import-not-found]
from typer.testing import CliRunner

from radfed.cli.console import GuardedGroup
from radfed.cli.job_federated import fetch, submit, watch
from radfed.ledger import read_ledger

app = typer.Typer(cls=GuardedGroup)
app.command()(submit)
app.command()(watch)
app.command()(fetch)


class Federation:
    """A fake federation behind the command line."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.time = folder, Time()
        self.flare = FakeFlare(self.time, small_job(sites=("north", "south", "west")), folder / "server")
        flare = self.flare

        class FakeConsole:
            def __new__(cls, kit: Path) -> Self:
                class Open:
                    def __enter__(self) -> FakeFlare:
                        return flare

                    def __exit__(
                        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
                    ) -> None:
                        return None

                return Open()  # type: ignore[return-value] # stands in for the console

        patch.setattr("radfed.federation.console.Console", FakeConsole)
        patch.setattr("radfed.federation.recipe.export_job", export)
        patch.setattr("radfed.federation.campaign.Clock", lambda: self.time.clock)

    def fated(self, *fates: Fate) -> None:
        self.flare.fates = fates

    def run(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [*arguments, "--startup-kit", "kit"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def submit(self, *more: str) -> tuple[int, str, str]:
        job = self.flare.job.job
        sites = [word for site in job.federation.sites for word in ("--sites", site)]
        numbers = ["--rounds", "4", "--link-rounds", "2", "--min-sites", "2"]
        return self.run("submit", job.name, "--out", str(self.folder / "run"), *numbers, *sites, *more)


@pytest.fixture
def federation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    return Federation(tmp_path, monkeypatch)


def test_submit_drives_and_says_how_it_ended(federation: Federation) -> None:
    code, out, told = federation.submit("--campaign", "trial", "--json")
    content = json.loads(out)
    assert code == 0
    assert (content["outcome"], content["campaign"], len(content["links"])) == ("COMPLETED", "trial", 2)
    assert "campaign trial; required sites: north, south, west" in told
    assert "round 4/4: 3 updates" in told
    assert "COMPLETED: best round 4" in told


def test_a_degraded_campaign_exits_with_0_and_says_it_loudly(federation: Federation) -> None:
    federation.flare.connected = ("north", "west")
    code, _, told = federation.submit("--start-with-quorum")
    assert code == 0
    assert "DEGRADED: missing from at least one round: south; 33.3 % of the case-rounds are not in the model" in told


def test_a_failed_campaign_exits_with_1(federation: Federation) -> None:
    federation.fated(*["hangs"] * 20)
    code, out, told = federation.submit("--json")
    assert code == 1
    assert json.loads(out)["outcome"] == "FAILED"
    assert "stopped: too_many_lost_links" in told


def test_a_refusal_exits_with_3_and_names_site_and_reason(federation: Federation) -> None:
    federation.fated("refused")
    code, out, told = federation.submit("--json")
    assert code == 3
    assert json.loads(out)["reason"] == "refused"
    assert "south: not_codeless: custom/evil.py" in told


def test_waiting_for_approval_says_what_to_type_where(federation: Federation) -> None:
    federation.fated("not_approved")
    _, _, told = federation.submit()
    assert f"waiting for south: a person there reviews and approves the job: radfed site approve SITE {DIGEST}" in told


def test_an_interrupted_driver_says_how_to_come_back(federation: Federation) -> None:
    federation.flare.crash_after_submit = True
    code, _, told = federation.submit()
    assert code == 130
    assert f"radfed job watch {federation.folder / 'run'} --startup-kit kit" in told
    code, _, _ = federation.submit()
    assert code == 0


def test_abort_ends_it(federation: Federation) -> None:
    federation.flare.crash_after_submit = True
    federation.submit()
    code, out, _ = federation.submit("--abort", "--json")
    assert code == 0
    assert json.loads(out) == {"run": str(federation.folder / "run"), "aborted": None}
    assert federation.submit()[0] == 1


def test_watch_prints_an_object_a_line(federation: Federation) -> None:
    federation.submit()
    run = federation.folder / "run"
    code, out, _ = federation.run("watch", str(run), "--json")
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [o for o in objects if o["event"] != "campaign"] == [
        line.model_dump(mode="json") for line in read_ledger(run / "ledger.jsonl")
    ]
    assert objects[-1]["outcome"] == "COMPLETED"
    code, out, told = federation.run("watch", str(run))
    assert (code, out) == (0, "")
    assert "COMPLETED" in told


def test_fetch_brings_the_results(federation: Federation) -> None:
    federation.submit()
    target = federation.folder / "elsewhere"
    code, out, _ = federation.run("fetch", str(federation.folder / "run"), "--out", str(target), "--json")
    assert code == 0
    assert json.loads(out)["outcome"] == "COMPLETED"
    assert (target / "best.safetensors").is_file()


def test_detach_starts_the_same_command_elsewhere(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    class Process:
        pid = 7

        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

    monkeypatch.setattr("subprocess.Popen", Process)
    monkeypatch.setattr("radfed.federation.admin_kit.read_admin_kit", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["radfed", "job", "submit", "j", "--out", "run", "--detach", "--json"])
    code, out, _ = federation.submit("--detach", "--json")
    assert code == 0
    assert json.loads(out)["process"] == 7
    assert started == [[sys.executable, "-m", "radfed", "job", "submit", "j", "--out", "run"]]
    assert not federation.flare.jobs_by_id
