"""A campaign as an engineer types it: approval at a site, a killed driver, a look from elsewhere, the results."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.federation_campaign import start_campaign
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.federation_host import LoopbackFederation
from tests.integration.federation_processes import wait_for
from tests.integration.federation_setup import ENGINEER

from radfed.federation.campaign_state import read_state
from radfed.federation.console import Console
from radfed.ledger import FinalLine, LinkLine, RoundLine, read_ledger
from radfed.metrics.signed import read_statements
from radfed.release.verify import verify
from radfed.weights import load_weights, weights_digest

SITES = ("north", "south")
ROUNDS = 2
PROGRAM = str(Path(sys.executable).parent / "radfed")


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackFederation]:
    root = tmp_path_factory.mktemp("campaign")
    datasets = write_datasets(root / "data", SITES, tiny_job())
    with LoopbackFederation(root / "fed", SITES, datasets) as up:
        yield up


def radfed(federation: LoopbackFederation, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, *arguments, "--startup-kit", str(federation.kit(ENGINEER))]
    return subprocess.run(
        command, capture_output=True, text=True, env=federation.environment("console"), timeout=300, check=False
    )


@pytest.mark.slow
def test_a_campaign_waits_for_approval_survives_its_driver_and_is_fetched(
    federation: LoopbackFederation, tmp_path: Path
) -> None:
    folder = federation.site_folder("south")
    settings = (folder / "site.yaml").read_text(encoding="utf-8")
    (folder / "site.yaml").write_text(settings.replace("jobs: .*", "jobs: other"), encoding="utf-8")
    job = tiny_job(rounds=ROUNDS, link_rounds=1, local_steps=2, sites=list(SITES))
    driver = start_campaign(federation, job, "trial", tmp_path)
    run = tmp_path / "trial" / "run"
    try:
        wait_for(lambda: "waiting for south: a person" in driver.log.read_text(), 120, "word of the approval")
        [pending] = (folder / "approvals" / "pending").glob("*.json")
        federation.run("radfed", "site", "approve", str(folder), pending.stem, "--yes")
        wait_for(lambda: any(isinstance(line, RoundLine) for line in driver.lines()), 180, "a round")
    finally:
        driver.end()
    state = read_state(run)
    assert state is not None
    assert state.links[0].reason == "not_approved"

    kit = str(federation.kit(ENGINEER))
    watched = subprocess.Popen(
        [PROGRAM, "job", "watch", str(state.links[-1].job_id), "--json", "--startup-kit", kit],
        stdout=subprocess.PIPE,
        text=True,
        env=federation.environment("console"),
    )
    submitted = radfed(
        federation, "job", "submit", str(tmp_path / "trial"), "--out", str(run), "--campaign", "trial", "--json"
    )
    assert submitted.returncode == 0, submitted.stderr
    final = json.loads(submitted.stdout)
    assert final["outcome"] == "COMPLETED"
    lines = read_ledger(run / "ledger.jsonl")
    assert isinstance(lines[-1], FinalLine)
    assert [line.round for line in lines if isinstance(line, RoundLine)] == list(range(1, ROUNDS + 1))
    with Console(federation.kit(ENGINEER)) as console:
        known = {status.job_id for status in console.jobs("trial")}
    assert {link["job_id"] for link in final["links"]} == known
    assert [line.job_id for line in lines if isinstance(line, LinkLine)] == [
        link["job_id"] for link in final["links"] if link["rounds"]
    ]
    assert weights_digest(load_weights(run / "best.safetensors")) == lines[-1].digest

    seen = [json.loads(text) for text in watched.communicate(timeout=60)[0].splitlines()]
    assert [line for line in seen if line["event"] != "campaign"] == [line.model_dump(mode="json") for line in lines]

    elsewhere = tmp_path / "elsewhere"
    fetched = radfed(federation, "job", "fetch", final["links"][-1]["job_id"], "--out", str(elsewhere), "--json")
    assert fetched.returncode == 0, fetched.stderr
    assert (elsewhere / "ledger.jsonl").read_bytes() == (run / "ledger.jsonl").read_bytes()
    [release] = elsewhere.glob("release/[!.]*")
    root = federation.kit("north") / "startup" / "rootCA.pem"
    statements, kept = read_statements(elsewhere / "sites")
    assert (sorted(statements), kept) == (sorted(SITES), root.read_bytes())
    report = verify(release, root=root)
    [signed] = [claim for claim in report.claims if claim.name == "site_metrics"]
    assert (signed.verdict, report.ok) == ("PASS", True), report.model_dump_json(indent=1)
