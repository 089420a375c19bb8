"""The evidence: a model that learnt its patients by heart fails, one that did not is reported, privacy lowers it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.privacy.leakage_world import table_job, trained_run, write_sites
from typer.testing import CliRunner, Result

from radfed.cli.main import app
from radfed.dataset.layout import Dataset
from radfed.errors import GateError, InvalidInputError
from radfed.privacy.inversion import invert_updates
from radfed.privacy.leakage import Leakage
from radfed.privacy.leakage_file import read_leakage
from radfed.privacy.shadow import likelihood_ratios

OVERFITTED = (64,)
STEPS = 100


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_sites(tmp_path_factory.mktemp("sites"))


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory, sites: dict[str, Path]) -> Path:
    return trained_run(tmp_path_factory.mktemp("runs") / "overfitted", table_job(OVERFITTED, STEPS), sites)


def audit(run: Path, sites: dict[str, Path], *options: str) -> Result:
    named = [part for root in sites.values() for part in ("--dataset", str(root))]
    return CliRunner().invoke(app, ["audit", "leakage", str(run), *named, *options, "--json"])


def result_of(result: Result) -> Leakage:
    content = json.loads(result.stdout)
    return Leakage.model_validate({key: content[key] for key in content if key not in ("report", "leakage")})


def test_a_model_that_learnt_by_heart_fails_the_gate(overfitted: Path, sites: dict[str, Path]) -> None:
    result = audit(overfitted, sites)
    assert result.exit_code == 3, result.output
    found = result_of(result)
    assert found.verdict == "fail"
    assert found.pooled is not None
    loss = found.pooled.attacks["loss"]
    assert loss.auc.low > 0.7
    assert loss.gap.low > 0
    assert any("attack AUC" in reason for reason in found.reasons)
    assert (found.pooled.members, found.pooled.others) == (80, 90)
    page = (overfitted / "leakage.html").read_text()
    assert "Verdict: fail" in page
    assert "Phantom data" in page


def test_a_model_that_generalises_is_reported_with_intervals(tmp_path: Path, sites: dict[str, Path]) -> None:
    run = trained_run(tmp_path / "run", table_job((), 40), sites)
    result = audit(run, sites)
    assert result.exit_code == 0, result.output
    found = result_of(result)
    assert found.verdict in ("pass", "inconclusive")
    assert found.pooled is not None
    for attack in found.pooled.attacks.values():
        assert attack.auc.low < 0.6
        assert attack.auc.low < attack.auc.value < attack.auc.high


def test_differential_privacy_lowers_the_same_attack(tmp_path: Path, overfitted: Path, sites: dict[str, Path]) -> None:
    job = table_job(OVERFITTED, STEPS, privacy={"noise_multiplier": 4.0, "max_grad_norm": 1.0, "delta": 1e-3})
    private = result_of(audit(trained_run(tmp_path / "run", job, sites), sites))
    plain = result_of(audit(overfitted, sites, "--out", str(tmp_path / "plain")))
    assert private.verdict != "fail"
    assert private.pooled is not None
    assert plain.pooled is not None
    assert private.pooled.attacks["loss"].auc.high < plain.pooled.attacks["loss"].auc.low


def test_what_was_written_belongs_to_its_model(overfitted: Path, sites: dict[str, Path], tmp_path: Path) -> None:
    assert audit(overfitted, sites, "--out", str(tmp_path)).exit_code == 3
    path = tmp_path / "leakage.json"
    content = json.loads(path.read_text())
    found = read_leakage(path, content["model"])
    assert found.verdict == "fail"
    with pytest.raises(GateError, match="another model"):
        read_leakage(path, "0" * 64)
    path.write_text(json.dumps({**content, "verdict": "pass", "reasons": []}))
    with pytest.raises(InvalidInputError, match="must follow from the numbers"):
        read_leakage(path, content["model"])


@pytest.mark.slow
def test_shadow_models_and_inversion_are_reported(overfitted: Path, sites: dict[str, Path], tmp_path: Path) -> None:
    found = result_of(audit(overfitted, sites, "--out", str(tmp_path), "--shadow", "4", "--inversion", "150"))
    assert found.shadows == 4
    assert found.pooled is not None
    assert found.pooled.attacks["lira"].auc.low > 0.6
    assert found.inversion is not None
    one, round_ = found.inversion.found
    # The gradient of one record through a dense layer holds the record; 100 steps of 10 records do not.
    assert one.better == 1
    assert one.error < 0.3
    assert round_.error > 3 * one.error
    page = (tmp_path / "leakage.html").read_text()
    assert "gradient of one case" in page


def test_likelihood_ratios_follow_from_two_normals() -> None:
    shadows = np.array([[1.0, 4.0], [3.0, 6.0], [0.0, 2.0], [2.0, 0.0]])
    inside = np.array([[True, True], [True, True], [False, False], [False, False]])
    # Means 2 and 5 with, 1 and 1 without; both variances 2, times 1.5 for means of two models.
    found = likelihood_ratios(np.array([2.0, 5.0]), shadows, inside)
    assert found == pytest.approx([1 / 6, 16 / 6])


def test_one_record_is_read_off_its_gradient(sites: dict[str, Path]) -> None:
    found = invert_updates(table_job((), 20), {"north": Dataset.read(sites["north"])}, 150)
    one, round_ = found.found
    assert (one.batch, one.steps, one.attacks, one.ssim) == (1, 1, 4, None)
    assert one.better == 1
    assert one.error < 0.3
    assert (round_.batch, round_.steps) == (10, 20)
    assert round_.error > 3 * one.error


@pytest.mark.parametrize("shadows", ["2", "5"])
def test_shadows_come_in_pairs(overfitted: Path, sites: dict[str, Path], tmp_path: Path, shadows: str) -> None:
    result = audit(overfitted, sites, "--out", str(tmp_path), "--shadow", shadows)
    assert result.exit_code == 2
    assert "even number" in json.loads(result.stdout)["error"]
