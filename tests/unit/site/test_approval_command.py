import json
from pathlib import Path

import pytest
from approval_cases import a_job, facts_of, make_site, write_dataset  # type: ignore[import-not-found]
from typer.testing import CliRunner, Result

from radfed.cli.main import app
from radfed.federation.recipe import export_job
from radfed.site.approval import Approvals
from radfed.site.approval_facts import JobFacts


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Counting a network's weights takes seconds in a process of its own; an integration test does it.
    monkeypatch.setattr("radfed.site.approval_facts.measure", lambda _job, _timeout: (10, 40))
    folder: Path = make_site(tmp_path / "site", write_dataset(tmp_path / "dataset", 6))
    return folder


def approve(site: Path, *arguments: str, keys: str | None = None) -> Result:
    return CliRunner().invoke(app, ["site", "approve", str(site), *arguments, "--json"], input=keys)


def waiting(site: Path) -> JobFacts:
    facts: JobFacts = facts_of(a_job()).model_copy(update={"submitter": "engineer@example.org"})
    Approvals(site).wait_for(facts)
    return facts


def test_without_a_digest_it_lists_what_waits_and_what_was_granted(site: Path) -> None:
    facts = waiting(site)
    done = approve(site)
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert [entry["digest"] for entry in found["pending"]] == [facts.digest]
    assert found["granted"] == []
    assert facts.digest[:16] in done.stderr


def test_a_prefix_and_yes_approve_on_the_facts_of_today(site: Path) -> None:
    facts = waiting(site)
    done = approve(site, facts.digest[:8], "--yes", "--by", "Dr. Who", "--note", "as agreed in May")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["approved"], found["by"], found["note"]) == (True, "Dr. Who", "as agreed in May")
    # When the job came, the site had no dataset; what is approved is what is there now.
    assert found["facts"]["data"]["training"] == 3
    assert found["facts"]["bytes_in_all"] == 240
    assert found["facts"]["submitter"] == "engineer@example.org"
    assert "What leaves in each round" in done.stderr


def test_nobody_at_the_terminal_is_no_yes(site: Path) -> None:
    facts = waiting(site)
    done = approve(site, facts.digest, keys="y\n")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["approved"] is False
    assert Approvals(site).granted() == []


@pytest.mark.parametrize(("answer", "granted"), [(True, 1), (False, 0)])
def test_a_person_at_the_terminal_is_asked(
    site: Path, monkeypatch: pytest.MonkeyPatch, answer: bool, granted: int
) -> None:
    facts = waiting(site)
    monkeypatch.setattr("radfed.cli.site_approval.on_terminal", lambda: True)
    done = approve(site, facts.digest, keys="y\n" if answer else "\n")
    assert done.exit_code == 0
    assert "Approve? [y/N]" in done.stderr
    assert len(Approvals(site).granted()) == granted


def test_a_job_is_approved_before_it_arrives(site: Path, tmp_path: Path) -> None:
    folder = export_job(a_job(), tmp_path / "exported")
    done = approve(site, "--job", str(folder), "--yes")
    assert done.exit_code == 0
    [grant] = Approvals(site).granted()
    assert grant.facts.digest == json.loads(done.stdout)["facts"]["digest"]
    assert grant.facts.submitter is None


def test_a_folder_that_radfed_did_not_write_is_refused(site: Path, tmp_path: Path) -> None:
    folder = export_job(a_job(), tmp_path / "exported")
    [config] = folder.glob("*/config/config_fed_client.json")
    config.write_text(config.read_text().replace("radfed.federation.executor.SiteExecutor", "other.Executor"))
    done = approve(site, "--job", str(folder), "--yes")
    assert done.exit_code == 3
    assert "not_codeless" in json.loads(done.stdout)["error"]
    assert Approvals(site).granted() == []


def test_what_is_unknown_or_too_much_is_a_usage_error(site: Path) -> None:
    waiting(site)
    assert approve(site, "0" * 8, "--yes").exit_code == 2
    assert approve(site, "0" * 8, "--withdraw", "0" * 8).exit_code == 2
    assert approve(site, "--withdraw", "0" * 8).exit_code == 2


def test_a_grant_is_withdrawn(site: Path) -> None:
    facts = waiting(site)
    approve(site, facts.digest, "--yes")
    done = approve(site, "--withdraw", facts.digest[:8], "--by", "me")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["by"] == "me"
    assert Approvals(site).granted() == []
