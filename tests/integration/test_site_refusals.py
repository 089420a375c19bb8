"""What may not run at a site does not: real server, real sites, stock provisioning, on loopback."""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.federation_data import tiny_job, write_datasets
from tests.integration.federation_host import SERVER, LoopbackFederation
from tests.integration.federation_processes import Role, wait_for
from tests.integration.guarded_federation import (
    ATTACKS,
    OPEN,
    RUNS_A_COMMAND,
    STRICT,
    Attack,
    GuardedFederation,
    StockFederation,
    assert_nothing_of_it_is_here,
    attacked,
    edit,
    exported,
    run,
)

from radfed.federation.sightings import JobStatus
from radfed.job import Job
from radfed.ledger import SiteLine, read_ledger
from radfed.site.approval import Approvals
from radfed.site.approval_facts import JobFacts
from radfed.site.egress import LOG_FILE, Sent, verify

SITES = (STRICT, OPEN)


@pytest.fixture(scope="module")
def job() -> Job:
    return tiny_job(rounds=1, min_sites=1, local_steps=2, link_rounds=0)


@pytest.fixture(scope="module")
def datasets(job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    write_datasets(folder, SITES, job)
    return {site: folder / site for site in SITES}


@pytest.fixture(scope="module")
def federation(datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedFederation]:
    with GuardedFederation(tmp_path_factory.mktemp("guarded"), SITES, datasets) as running:
        yield running


def sent(federation: LoopbackFederation, site: str, job_id: str) -> list[Sent]:
    verdict = verify(federation.site_folder(site))
    assert verdict.problems == ()
    return [line for line in verdict.lines if isinstance(line, Sent) and line.job == job_id]


def accepted(federation: LoopbackFederation, folder: Path) -> dict[str, SiteLine]:
    """What the server's ledger says of each site's update."""
    [settings] = folder.glob("*/config/radfed.json")
    store = federation.kit(SERVER) / "campaigns" / str(Job.read_json(settings).campaign)
    return {line.site: line for line in read_ledger(store / "ledger.jsonl") if isinstance(line, SiteLine)}


def has_trained(federation: LoopbackFederation, site: str) -> Callable[[JobStatus], bool]:
    """Whether an update of a job has left a site; what the server makes of the model afterwards takes long."""
    return lambda status: any(line.task == "train" for line in sent(federation, site, status.job_id))


def test_an_unapproved_job_does_not_start_and_the_other_site_goes_on(
    federation: GuardedFederation, job: Job, tmp_path: Path
) -> None:
    folder = exported(job, tmp_path)
    done = run(federation, folder, lambda _: OPEN in accepted(federation, folder))
    [refusal] = done.refusals
    assert (refusal.site, refusal.code) == (STRICT, "not_approved")
    assert_nothing_of_it_is_here(federation, done, STRICT)
    assert sent(federation, STRICT, done.job_id) == []
    # It waits for a person, with what that person needs to know; the size is counted behind the server's back.
    approvals = Approvals(federation.site_folder(STRICT))

    def counted() -> JobFacts | None:
        facts = approvals.pending_of(str(refusal.detail))
        return facts if facts is not None and facts.bytes_a_round is not None else None

    facts = wait_for(counted, 60, "size of an update")
    assert facts.submitter == "engineer@radfed.test, radfed, lead"
    # The other site trained, and its log names the very update that the server took.
    [line] = [line for line in sent(federation, OPEN, done.job_id) if line.task == "train"]
    taken = accepted(federation, folder)[OPEN]
    assert taken.accepted
    assert (line.digest, line.bytes, line.round) == (taken.digest, taken.bytes, 1)
    assert facts.bytes_a_round == line.bytes


def test_an_approved_job_runs_and_an_altered_one_does_not(
    federation: GuardedFederation, job: Job, tmp_path: Path
) -> None:
    folder = exported(job, tmp_path / "as approved")
    federation.approve(folder, STRICT)
    done = run(federation, folder, has_trained(federation, STRICT))
    assert dict(done.deployed) == {STRICT: "OK", OPEN: "OK"}
    assert "train" in {line.task for line in sent(federation, STRICT, done.job_id)}

    def one_more_step(config: Path, _marker: Path) -> None:
        edit(config / "radfed.json", lambda content: content["job"]["federation"].update(local_steps=3))
        # Laid out as radfed would write it, so that nothing but the setting is another.
        Job.read_json(config / "radfed.json").write_json(config / "radfed.json")

    altered = attacked(folder, one_more_step, tmp_path / "altered", tmp_path / "marker")
    refused = run(federation, altered, lambda status: bool(status.deployed))
    assert {refusal.site: refusal.code for refusal in refused.refusals} == {STRICT: "not_approved"}
    assert_nothing_of_it_is_here(federation, refused, STRICT)


def test_an_approval_also_covers_flares_own_submit_command(
    federation: GuardedFederation, job: Job, tmp_path: Path
) -> None:
    """FLARE's command lays JSON out anew and signs every folder; it is the same job all the same."""
    folder = exported(job, tmp_path)
    federation.approve(folder, STRICT)
    kit = str(federation.kit("engineer@radfed.test"))
    answer = federation.run("nvflare", "--format", "json", "job", "submit", "-j", str(folder), "--startup-kit", kit)
    job_id = json.loads(answer)["data"]["job_id"]
    with federation.console() as console:
        deployed = wait_for(lambda: console.status(job_id).deployed or None, 60, "deployment")
        assert dict(deployed) == {STRICT: "OK", OPEN: "OK"}
        console.abort(job_id)
        wait_for(lambda: console.status(job_id).ended, 60, "end of the job")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_job_that_would_run_anything_else_is_refused_by_every_site(
    federation: GuardedFederation, job: Job, tmp_path: Path, attack: Attack
) -> None:
    """The server lets all of them pass, and one of the sites has approved every job."""
    marker = tmp_path / "marker"
    done = run(federation, attacked(exported(job, tmp_path / "job"), attack.change, tmp_path / "bad", marker))
    assert done.status == "FINISHED:FAILED_TO_RUN"
    assert set(done.deployed) == set(SITES)
    for site in SITES:
        assert attack.refused in done.deployed[site]
        assert_nothing_of_it_is_here(federation, done, site)
        assert federation.processes(Role.CLIENT_JOB, site) == []
    assert not marker.exists()


def test_if_the_egress_log_cannot_be_written_nothing_leaves(
    federation: GuardedFederation, job: Job, tmp_path: Path
) -> None:
    log = federation.site_folder(OPEN) / LOG_FILE
    log.rename(log.with_suffix(".aside"))
    log.mkdir()
    try:
        folder = exported(job, tmp_path)
        run(federation, folder, lambda _: OPEN in accepted(federation, folder))
        answer = accepted(federation, folder)[OPEN]
        assert (answer.answered, answer.accepted, answer.digest) == (True, False, None)
        assert answer.reason == "TASK_RESULT_FILTER_ERROR"
        assert str(federation.root) not in answer.model_dump_json()
    finally:
        log.rmdir()
        log.with_suffix(".aside").rename(log)


@pytest.mark.slow
def test_on_stock_flare_the_same_command_runs_at_the_site(job: Job, datasets: dict[str, Path], tmp_path: Path) -> None:
    """What the guard is for: codeless, byoc none, FLARE's own list of classes, and yet any code of the submitter."""
    marker = tmp_path / "marker"
    with StockFederation(tmp_path / "stock", (OPEN,), datasets) as stock:
        folder = attacked(exported(job, tmp_path / "job"), RUNS_A_COMMAND, tmp_path / "bad", marker)
        with stock.console() as console:
            job_id = console.submit(folder, secrets.token_hex(8))
            wait_for(marker.exists, 90, "marker of the attack")
            assert console.status(job_id).deployed == {OPEN: "OK"}
            console.abort(job_id)
    assert marker.read_text() == "any code"
