"""Trees by FLARE's own XGBoost recipe: real FLARE processes in the simulator."""

from pathlib import Path
from typing import Any

import pytest
import torch
import xgboost
from tests.unit.training.records_rule import SPLITS, rule_task, write_rule_dataset

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.job import Job
from radfed.metrics.intervals import Bootstrap
from radfed.task import OutcomeTask
from radfed.training.baselines import train_baseline
from radfed.training.kinds import load_cases
from radfed.training.predictor import OutcomePredictor
from radfed.validation.kinds import headline_of, summarise_any
from radfed.validation.outcome.comparison import compare_outcomes
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.results import OutcomeEvaluation, load_outcome_evaluations
from radfed.workflow.trees import run_trees

ROUNDS = 10


def rule_job(task: OutcomeTask, **trees: float) -> Job:
    content: dict[str, Any] = {
        "job": {
            "name": "rule",
            "description": "d",
            "trees": {"rounds": ROUNDS, **trees},
            "training": {"batch_size": 32, "learning_rate": 0.05, "warmup_steps": 1},
        },
        "task": task.model_dump(mode="json"),
    }
    return Job.check(content, "test")


def logistic_regression(job: Job, datasets: list[Dataset]) -> OutcomeEvaluation:
    """The task's own network, on all cases in one place."""
    task, cpu = job.task, torch.device("cpu")
    assert isinstance(task, OutcomeTask)
    training, validation = (
        [sample for dataset in datasets for sample in load_cases(dataset, split, task)]
        for split in ("training", "validation")
    )
    model = train_baseline("pooled", task, job.job.training, training, validation, 200, 5, cpu)
    return evaluate_outcomes(OutcomePredictor.of(task, model.weights, cpu).answer, task, datasets, model="pooled")


def area(evaluation: OutcomeEvaluation) -> float:
    found = headline_of(summarise_any(evaluation, Bootstrap(resamples=50))).value
    assert found is not None  # both classes are there
    return found


def test_trees_of_two_sites_learn_a_rule_that_no_logistic_regression_can(tmp_path: Path) -> None:
    task = rule_task()
    # Names that say nothing of a number: the recipe's own executor wants one in them.
    datasets = {
        site: write_rule_dataset(tmp_path / "data" / site, site, task, seed)
        for seed, site in enumerate(("fen", "moor"))
    }
    opened = [Dataset.read(root) for root in datasets.values()]
    job, run = rule_job(task), tmp_path / "run"
    pooled = logistic_regression(job, opened)
    trees = run_trees(job, datasets, run, {"pooled": pooled})

    assert area(pooled) < 0.7
    assert area(trees) > 0.9
    assert {case.site for case in trees.cases} == {"fen", "moor"}
    assert len(trees.cases) == 2 * SPLITS["test"]
    # One file for radfed validate --compare, with what was there beside it.
    found = load_outcome_evaluations(run / "comparison.json")
    assert found == {"pooled": pooled, "trees": trees}
    rows = compare_outcomes(trees, {"pooled": found["pooled"]}, Bootstrap(resamples=50))
    gain = next(row.difference for row in rows if (row.model, row.site, row.metric) == ("pooled", None, "auroc"))
    assert gain is not None
    assert gain.low is not None
    assert gain.low > 0.1

    kept = xgboost.Booster(model_file=run / "baselines" / "trees.json")
    assert kept.num_boosted_rounds() in range(2, 2 * ROUNDS + 1, 2)  # a tree of each site in every round that is kept
    log = (run / "trees.log").read_text()
    assert log.count("ACCEPTED by the aggregator") == 2 * ROUNDS
    assert str(tmp_path) not in log  # where a site keeps its data


@pytest.mark.slow
def test_three_classes_are_learnt_though_a_site_has_one_of_them_only(tmp_path: Path) -> None:
    task = rule_task(("alike", "right", "left"))
    datasets = {
        "fen": write_rule_dataset(tmp_path / "fen", "fen", task, 0),
        "moor": write_rule_dataset(tmp_path / "moor", "moor", task, 1),
        "tarn": write_rule_dataset(tmp_path / "tarn", "tarn", task, 2, only="left"),
    }
    trees = run_trees(rule_job(task, depth=4), datasets, tmp_path / "run", {})
    assert area(trees) > 0.85
    # At the site of one class alone a model that learnt only that class would be right, and elsewhere wrong.
    for site in ("fen", "moor"):
        cases = trees.at(site)
        right = sum(task.finds[max(range(3), key=case.scores.__getitem__)] == case.truth for case in cases)
        assert right / len(cases) > 0.7
    assert trees.at("tarn")


def test_a_site_without_a_training_case_is_named_before_anything_starts(tmp_path: Path) -> None:
    task = rule_task()
    datasets = {
        "fen": write_rule_dataset(tmp_path / "fen", "fen", task, 0),
        "moor": write_rule_dataset(tmp_path / "moor", "moor", task, 1, only="nothing"),
    }
    with pytest.raises(InvalidInputError, match="moor: the dataset has no training case"):
        run_trees(rule_job(task), datasets, tmp_path / "run", {})
    assert not (tmp_path / "run").exists()
