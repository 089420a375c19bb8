"""A federation of records alone: real FLARE processes in the simulator."""

from pathlib import Path

import pytest
from tests.unit.training.training_world import outcome_task, write_outcome_dataset

from radfed.federation.simulate import simulate
from radfed.job import Job
from radfed.ledger import FinalLine, SiteLine, read_ledger, rounds_of
from radfed.weights import load_weights
from radfed.workflow.simulation import run_baselines

SITES = ("north", "valley", "coast")


@pytest.fixture(scope="module")
def job() -> Job:
    content = {
        "job": {
            "name": "records",
            "description": "d",
            "federation": {"rounds": 3, "local_steps": 15, "min_sites": 3},
            "training": {"batch_size": 32, "learning_rate": 0.03, "warmup_steps": 1},
        },
        "task": outcome_task(covariates=3).model_dump(mode="json"),
    }
    return Job.check(content, "test")


@pytest.fixture(scope="module")
def datasets(job: Job, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("records")
    return {
        site: write_outcome_dataset(
            root / site, site, outcome_task(covariates=3), {"training": 30, "validation": 15, "test": 12}, seed=number
        )
        for number, site in enumerate(SITES)
    }


def test_sites_learn_a_regression_together_and_beat_no_knowledge(
    job: Job, datasets: dict[str, Path], tmp_path: Path
) -> None:
    final = simulate(job, datasets, tmp_path, lambda _line: None)
    lines = read_ledger(tmp_path / "ledger.jsonl")
    assert final.outcome == "COMPLETED"
    sites = [line for line in lines if isinstance(line, SiteLine) and line.round]
    assert {(line.round, line.site) for line in sites if line.accepted} >= {(r, s) for r in (1, 2, 3) for s in SITES}
    metrics = [line.metric for line in rounds_of(lines)]
    assert all(metric is not None for metric in metrics)
    # Half of all is 0.75: the Brier score of who always says a half is a quarter.
    assert (metrics[-1] or 0.0) > 0.82
    assert isinstance(lines[-1], FinalLine)
    assert set(load_weights(tmp_path / "best.safetensors")) == {"head.0.weight", "head.0.bias"}


@pytest.mark.slow
def test_baselines_of_records_answer_every_test_case(job: Job, datasets: dict[str, Path], tmp_path: Path) -> None:
    found = run_baselines(job, datasets, tmp_path, lambda _done: None)
    assert set(found) == {"pooled", *(f"local-{site}" for site in SITES)}
    assert {len(evaluation.cases) for evaluation in found.values()} == {36}
