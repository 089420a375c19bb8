import json
import os
from datetime import date
from pathlib import Path

import pytest
from approval_cases import a_job, facts_of, files_of_job, write_dataset  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError
from radfed.site.approval import Approvals, decide, fulfils, job_digest, read_app
from radfed.site.approval_facts import JobFacts
from radfed.site.approval_settings import ApprovalSettings, StandingApproval

TODAY = date(2026, 5, 1)


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(tmp_path / "site")


def sized(facts: JobFacts, size: int = 1000) -> JobFacts:
    return facts.with_size(10, size)


def test_a_digest_is_of_what_the_files_say_and_not_of_their_layout_or_signatures() -> None:
    files = files_of_job(a_job())
    relaid = {name: json.dumps(json.loads(content)).encode() for name, content in reversed(files.items())}
    signed = relaid | {"config/.__nvfl_sig.json": os.urandom(8), ".__nvfl_submitter.crt": os.urandom(8)}
    assert relaid != files
    assert job_digest(signed) == job_digest(files)


@pytest.mark.parametrize(
    "changed",
    [
        files_of_job(a_job(local_steps=41)),
        files_of_job(a_job()) | {"custom/x.py": b""},
        files_of_job(a_job()) | {"config/config_fed_client.json": b'{"executors": [1]}'},
        {name.upper(): content for name, content in files_of_job(a_job()).items()},
        files_of_job(a_job()) | {"config/broken.json": b"{"},
    ],
)
def test_any_other_setting_file_or_name_is_another_digest(changed: dict[str, bytes]) -> None:
    assert job_digest(changed) != job_digest(files_of_job(a_job()))


def test_true_is_not_one_in_a_digest() -> None:
    assert job_digest({"a.json": b"[true]"}) != job_digest({"a.json": b"[1]"})


def test_nothing_runs_unless_somebody_said_yes(approvals: Approvals) -> None:
    assert decide(approvals, ApprovalSettings(), facts_of(a_job()), TODAY).approved is False


def test_a_person_approves_one_digest_and_no_other(approvals: Approvals) -> None:
    approvals.grant(facts_of(a_job()), "dr. no", "reviewed")
    decision = decide(approvals, ApprovalSettings(), facts_of(a_job()), TODAY)
    assert (decision.approved, decision.by) == (True, "dr. no")
    assert decide(approvals, ApprovalSettings(), facts_of(a_job(rounds=7)), TODAY).approved is False


def test_an_open_site_says_so_in_its_settings(approvals: Approvals) -> None:
    assert decide(approvals, ApprovalSettings(required=False), facts_of(a_job()), TODAY).approved is True


def test_a_grant_lapses_with_another_dataset_and_says_what_changed(approvals: Approvals, tmp_path: Path) -> None:
    before = facts_of(a_job(), write_dataset(tmp_path / "d", 6))
    approvals.grant(before, "me")
    after = facts_of(a_job(), write_dataset(tmp_path / "d", 7))
    decision = decide(approvals, ApprovalSettings(), after, TODAY)
    assert decision.approved is False
    [change] = decision.changed
    assert "dataset: 6 cases" in change
    assert "7 cases" in change
    assert decide(approvals, ApprovalSettings(), before, TODAY).approved is True


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"code": "0" * 64}, "installed code"),
        ({"filters": ("radfed: EgressFilter",)}, "filters"),
        ({"data": None}, "dataset"),
    ],
)
def test_a_grant_lapses_with_what_lies_at_the_site(
    approvals: Approvals, tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    facts = facts_of(a_job(), write_dataset(tmp_path / "d", 6))
    approvals.grant(facts, "me")
    decision = decide(approvals, ApprovalSettings(), facts.model_copy(update=changes), TODAY)
    assert decision.approved is False
    assert [word in change for change in decision.changed] == [True]


def test_a_withdrawn_grant_holds_no_longer_and_its_record_stays(approvals: Approvals, tmp_path: Path) -> None:
    facts = facts_of(a_job())
    approvals.grant(facts, "me")
    approvals.withdraw(facts.digest, "you", "changed our mind")
    assert decide(approvals, ApprovalSettings(), facts, TODAY).approved is False
    record = json.loads((tmp_path / f"site/approvals/withdrawn/{facts.digest}.json").read_text())
    assert (record["grant"]["by"], record["by"], record["note"]) == ("me", "you", "changed our mind")
    with pytest.raises(InvalidInputError, match="was not granted"):
        approvals.withdraw(facts.digest, "you")


def test_approving_takes_a_job_from_those_that_wait(approvals: Approvals) -> None:
    facts = facts_of(a_job())
    approvals.wait_for(facts)
    assert approvals.pending() == [facts]
    approvals.grant(facts, "me")
    assert approvals.pending() == []
    assert [grant.facts for grant in approvals.granted()] == [facts]


def test_of_a_flood_of_jobs_the_latest_hundred_wait(approvals: Approvals) -> None:
    facts = facts_of(a_job())
    for number in range(105):
        approvals.wait_for(facts.model_copy(update={"digest": f"{number:064x}"}))
    assert len(approvals.pending()) == 100
    assert approvals.pending_of(f"{104:064x}") is not None


def test_a_record_that_cannot_be_read_counts_for_nothing_and_is_named(approvals: Approvals, tmp_path: Path) -> None:
    facts = facts_of(a_job())
    approvals.grant(facts, "me")
    (tmp_path / f"site/approvals/granted/{facts.digest}.json").write_text('{"by": "me"}')
    assert decide(approvals, ApprovalSettings(), facts, TODAY).approved is False
    assert approvals.unreadable() == [facts.digest]


def test_a_digest_is_found_by_a_prefix_that_fits_one(approvals: Approvals) -> None:
    facts = facts_of(a_job())
    for name in ("a" * 64, "a" * 10 + "b" * 54):
        approvals.wait_for(facts.model_copy(update={"digest": name}))
    assert approvals.find("a" * 10 + "b") == "a" * 10 + "b" * 54
    for bad, why in (("a" * 9, "fits 2"), ("f" * 9, "fits 0"), ("a" * 7, "at least"), ("../../../..", "fits 0")):
        with pytest.raises(InvalidInputError, match=why):
            approvals.find(bad)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (StandingApproval(jobs="phantom_.*"), True),
        (StandingApproval(jobs="phantom"), False),
        (StandingApproval(jobs=".*", networks=("UNet",)), True),
        (StandingApproval(jobs=".*", networks=("SegResNet",)), False),
        (StandingApproval(jobs=".*", max_rounds=6), True),
        (StandingApproval(jobs=".*", max_rounds=5), False),
        (StandingApproval(jobs=".*", max_bytes=6000), True),
        (StandingApproval(jobs=".*", max_bytes=5999), False),
        (StandingApproval(jobs=".*", until=TODAY), True),
        (StandingApproval(jobs=".*", until=date(2026, 4, 30)), False),
    ],
)
def test_a_standing_approval_covers_only_what_it_says(rule: StandingApproval, holds: bool) -> None:
    assert fulfils(rule, sized(facts_of(a_job())), TODAY) is holds


def test_a_size_that_is_not_known_fulfils_no_limit() -> None:
    assert fulfils(StandingApproval(jobs=".*", max_bytes=10**12), facts_of(a_job()), TODAY) is False


def test_a_standing_approval_stands_in_for_a_person_and_is_named(approvals: Approvals) -> None:
    settings = ApprovalSettings(standing=(StandingApproval(jobs="phantom_.*"),))
    decision = decide(approvals, settings, facts_of(a_job()), TODAY)
    assert decision.approved is True
    assert "standing" in decision.by


def test_an_exported_folder_holds_one_app(tmp_path: Path) -> None:
    app = tmp_path / "job" / "app"
    for name, content in files_of_job(a_job()).items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_bytes(content)
    assert read_app(tmp_path / "job") == read_app(app) == files_of_job(a_job())
    (tmp_path / "job" / "other" / "config").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match="holds 2 FLARE apps"):
        read_app(tmp_path / "job")
