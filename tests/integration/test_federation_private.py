"""A federation with differential privacy: real FLARE processes in the simulator, and what the run folder says of it."""

import json
from pathlib import Path

import pytest
from tests.unit.training.training_world import outcome_task, write_outcome_dataset

from radfed.federation.simulate import simulate
from radfed.job import Job
from radfed.ledger import SiteLine, read_ledger
from radfed.privacy.spent import PRIVACY_FILE, PrivacyRecord
from radfed.training.privacy_account import Stretch, epsilon_of

SITES = {"north": 16, "valley": 40}
ROUNDS, STEPS = 2, 4


def test_a_private_federation_says_what_it_spent(tmp_path: Path) -> None:
    task = outcome_task(covariates=3)
    content = {
        "job": {
            "name": "private",
            "description": "d",
            "federation": {"rounds": ROUNDS, "local_steps": STEPS, "min_sites": 2},
            "training": {"batch_size": 16, "warmup_steps": 0, "privacy": {"epsilon": 6.0, "max_grad_norm": 0.5}},
        },
        "task": task.model_dump(mode="json"),
    }
    datasets = {
        site: write_outcome_dataset(tmp_path / site, site, task, {"training": count, "validation": 8}, seed=count)
        for site, count in SITES.items()
    }
    final = simulate(Job.check(content, "test"), datasets, tmp_path / "run", lambda _line: None)
    assert final.outcome == "COMPLETED"

    record = PrivacyRecord.model_validate_json((tmp_path / "run" / PRIVACY_FILE).read_text())
    assert set(record.sites) == set(SITES)
    for site, spent in record.sites.items():
        assert spent.steps == ROUNDS * STEPS
        assert spent.sampling_rate == min(1.0, 16 / SITES[site])
        # By hand from what the file says: whoever has the release can do the same.
        again = Stretch(noise_multiplier=spent.noise_multiplier, sampling_rate=spent.sampling_rate, steps=spent.steps)
        assert spent.epsilon == pytest.approx(epsilon_of((again,), spent.delta))
        assert 4.8 < spent.epsilon <= 6.0
    assert record.worst_epsilon == max(spent.epsilon for spent in record.sites.values())
    assert record.budget == 6.0

    lines = [line for line in read_ledger(tmp_path / "run" / "ledger.jsonl") if isinstance(line, SiteLine)]
    for site in SITES:
        told = [line.privacy for line in lines if line.site == site]
        costs = [spent.epsilon for spent in told if spent is not None]
        assert len(costs) == ROUNDS
        assert costs == sorted(costs)
    # Without noise, a mean over training patients must not leave.
    assert {line.loss for line in lines} == {None}
    assert "not_covered" in json.loads((tmp_path / "run" / PRIVACY_FILE).read_text())
