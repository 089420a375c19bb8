"""What an audit refuses, what it does not say, and what it tells of few patients."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.privacy.leakage_world import SITES, table_job, table_task, trained_run, write_site, write_sites
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.layout import Case, Dataset, Observed
from radfed.errors import GateError, InvalidInputError
from radfed.privacy.leakage import LeakagePolicy, SiteLeakage, pool_leakage, site_leakage
from radfed.privacy.leakage_run import audit_leakage, open_audited
from radfed.privacy.leakage_scores import deviances, mask_scores, outcome_scores, patient_scores
from radfed.privacy.leakage_sums import sums_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    root = tmp_path_factory.mktemp("world")
    sites = write_sites(root)
    return trained_run(root / "run", table_job((), 10), sites), sites


def report(seed: int = 0, apart: float = 0.0, members: int = 40, others: int = 30) -> SiteLeakage:
    """A site's answer, of patients whose scores lie so far apart."""
    random = np.random.default_rng(seed)
    inside, outside = [f"m{i}" for i in range(members)], [f"o{i}" for i in range(others)]
    scores = {name: float(random.normal(apart * (name in inside))) for name in (*inside, *outside)}
    told = sums_of({"loss": scores}, inside, outside, 0.01)
    task = table_task(())
    return SiteLeakage(
        model="0" * 64, task=task.name, task_digest=task.digest, policy=LeakagePolicy(), members=told[0],
        others=told[1], attacks=told[2],
    )  # fmt: skip


def test_a_site_without_part_in_training_is_refused(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    run, sites = world
    audited = open_audited(run)
    with pytest.raises(InvalidInputError, match="took no part"):
        audit_leakage(audited, {"elsewhere": Dataset.read(sites["north"])})
    changed = write_site(tmp_path / "north", {"training": 39, "test": 30}, 0)
    with pytest.raises(InvalidInputError, match="39 training case"):
        audit_leakage(audited, {"north": Dataset.read(changed)})
    found = audit_leakage(audited, {"north": Dataset.read(sites["north"])})
    assert (found.verdict, found.silent) == ("inconclusive", ("valley",))


def test_a_model_that_is_not_the_ledgers_is_refused(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    other = trained_run(tmp_path / "other", table_job((), 20), world[1])
    (other / "best.safetensors").write_bytes((world[0] / "best.safetensors").read_bytes())
    with pytest.raises(GateError, match="not the one in its ledger"):
        open_audited(other)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["audit", "leakage", str(tmp_path), "--dataset", str(tmp_path), "--out", str(tmp_path), "--json"]
    )
    assert result.exit_code == 2
    assert "holds neither" in json.loads(result.stdout)["error"]


def test_inconclusive_can_be_made_to_stop(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    run, sites = world
    command = ["audit", "leakage", str(run), "--dataset", f"north={sites['north']}", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--require-pass"]).exit_code == 3


def test_patients_in_two_splits_are_refused(world: tuple[Path, dict[str, Path]]) -> None:
    run, sites = world
    dataset = Dataset.read(sites["north"])
    first, last = dataset.split("training")[0], dataset.split("test")[0]
    mixed = Dataset(
        dataset.root, dataset.site, dataset.task, (*dataset.cases, last.model_copy(update={"patient": first.patient}))
    )
    with pytest.raises(InvalidInputError, match="1 patient"):
        site_leakage(open_audited(run).model, mixed)


def test_a_patient_counts_once_however_many_scans(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    model = open_audited(world[0]).model
    once, twice = (
        Dataset.read(write_site(tmp_path / name / "north", {"training": 12, "test": 9}, 0, copies))
        for name, copies in (("once", False), ("twice", True))
    )
    assert len(twice.cases) == 2 * len(once.cases)
    assert site_leakage(model, twice) == site_leakage(model, once)
    assert len(patient_scores(model, twice, twice.cases)["loss"]) == 21


def test_few_patients_are_inconclusive_and_told_nothing_of() -> None:
    few = report(members=20, others=2)
    assert (few.members, few.others, few.attacks) == (None, None, {})
    found = pool_leakage({"a": few})
    assert (found.verdict, found.pooled, found.silent) == ("inconclusive", None, ("a",))
    turns = {f"{who}{number}": 2.0 * number + (who == "o") for who in "mo" for number in range(9)}
    inside, outside = ([name for name in turns if name[0] == who] for who in "mo")
    members, others, attacks = sums_of({"loss": turns}, inside, outside, 0.01)
    small = pool_leakage({"a": report().model_copy(update={"members": members, "others": others, "attacks": attacks})})
    assert small.verdict == "inconclusive"
    assert any("too few" in reason for reason in small.reasons)


def test_many_patients_without_a_difference_pass() -> None:
    found = pool_leakage({site: report(seed, members=150, others=120) for seed, site in enumerate(SITES)}, SITES)
    assert (found.verdict, found.reasons) == ("pass", ())
    assert found.pooled is not None
    hits = found.pooled.attacks["loss"].true_positives
    assert hits.false_positives == 2
    assert hits.resolution == pytest.approx(1 / 240)


def test_one_leaking_site_is_enough_to_fail() -> None:
    reports = {"a": report(0, members=300, others=300), "b": report(1, apart=2.0, members=20, others=20)}
    found = pool_leakage(reports)
    assert found.verdict == "fail"
    assert found.reasons
    assert all(reason.startswith("b,") for reason in found.reasons)


def test_the_gate_seldom_fails_a_model_that_gives_nothing_away() -> None:
    verdicts = [
        pool_leakage({s: report(9 * n + i, 0.0, 30, 15) for i, s in enumerate("abc")}).verdict for n in range(80)
    ]
    assert verdicts.count("fail") <= 4


def test_reports_on_two_models_are_not_pooled() -> None:
    with pytest.raises(ValueError, match="another model"):
        pool_leakage({"a": report(), "b": report(1).model_copy(update={"model": "1" * 64})})


def test_a_report_that_tells_of_two_patients_is_refused() -> None:
    content = report().model_dump(mode="json")
    runs = content["attacks"]["loss"]["runs"]
    runs[0][0], runs[1][0] = 2, runs[1][0] + runs[0][0] - 2
    with pytest.raises(InvalidInputError, match="none or at least 3"):
        SiteLeakage.check(content, "site")


def test_mask_scores_of_a_certain_and_right_answer() -> None:
    reference = np.zeros((4, 4, 2), dtype=np.uint8)
    reference[1:3] = 1
    logits = np.where(np.arange(2)[:, None, None, None] == reference, 20.0, -20.0)
    right, wrong = mask_scores(logits, reference), mask_scores(-logits, reference)
    assert right == pytest.approx({"loss": 0.0, "dice": 1.0, "confidence": 0.0}, abs=1e-9)
    assert wrong["loss"] == pytest.approx(-41.0)
    assert wrong["dice"] == 0


def test_deviance_is_that_of_the_definition() -> None:
    times, events = np.array([2.0, 1.0, 3.0, 2.0]), np.array([True, True, False, True])
    hazards = np.array([0.3, -0.2, 1.0, 0.0])
    expected = []
    for time, hazard in zip(times, hazards, strict=True):
        cumulative = sum(
            1 / np.exp(hazards[times >= other]).sum()
            for other, event in zip(times, events, strict=True)
            if event and other <= time
        )
        expected.append(cumulative * np.exp(hazard))
    martingale = events - np.array(expected)
    wanted = -2 * (martingale + np.where(events, np.log(expected), 0))
    assert deviances(times, events, hazards) == pytest.approx(wanted)
    assert deviances(times, events, hazards + 500.0) == pytest.approx(wanted)


def test_findings_and_survival_are_scored() -> None:
    base = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "covariates": [{"type": "numeric", "name": "x"}],
        "network": {},
    }
    findings = table_task(()).check(
        {**base, "kind": "tabular", "outcome": {"type": "multilabel", "findings": ["a", "b"]}}, "test"
    )
    survival = table_task(()).check({**base, "kind": "survival", "outcome": {"type": "survival"}}, "test")
    key = "0" * 64
    about = {"id": "case-0123456789ab", "patient": "pat-0123456789ab", "split": "test", "digest": key, "channels": 0}
    found = outcome_scores(np.array([[0.0, 0.0]]), [Case.model_validate({**about, "outcome": ("a",)})], findings)
    assert found["loss"] == pytest.approx([-np.log(2)])
    assert found["confidence"] == pytest.approx([-np.log(2)])
    watched = [Case.model_validate({**about, "outcome": Observed(time=t, event=True)}) for t in (1.0, 2.0)]
    assert set(outcome_scores(np.zeros((2, 1)), watched, survival)) == {"loss"}
