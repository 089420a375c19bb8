"""``radfed job simulate --trees``: what may be asked for, said before anything takes time."""

import json
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from tests.unit.training.records_rule import rule_task, write_rule_dataset
from tests.unit.training.training_world import outcome_task
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.errors import InvalidInputError
from radfed.job import Job, TreeSettings, find_job
from radfed.task import TaskSpec
from radfed.workflow.trees import check_trees


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (outcome_task(encoder="DenseNet"), "of the kind classification with the outcome multiclass"),
        (outcome_task(encoder="DenseNet", covariates=2), "of the kind multimodal with the outcome multiclass"),
        (outcome_task(covariates=2, outcome="survival"), "of the kind survival with the outcome survival"),
        (outcome_task(covariates=2, outcome="multilabel"), "of the kind tabular with the outcome multilabel"),
        (find_job("phantom_segmentation").task, "of the kind segmentation; leave it out"),
    ],
    ids=["images", "images and records", "survival", "findings", "segmentation"],
)
def test_trees_are_for_records_with_classes_alone(task: TaskSpec, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        check_trees(task)


@pytest.mark.parametrize("classes", [("well", "ill"), ("well", "ill", "gone")])
def test_two_classes_or_more_will_do(classes: tuple[str, ...]) -> None:
    task = rule_task(classes)
    assert check_trees(task) == task


def test_who_lacks_xgboost_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    known = util.find_spec
    monkeypatch.setattr("radfed.workflow.trees.find_spec", lambda name: None if name == "xgboost" else known(name))
    with pytest.raises(InvalidInputError, match=r"pip install 'radfed\[trees\]'"):
        check_trees(rule_task())


def test_a_refusal_comes_before_the_training(tmp_path: Path) -> None:
    dataset = write_rule_dataset(tmp_path / "fen", "fen", rule_task(), 0)
    words = ["job", "simulate", "phantom_segmentation", "--dataset", f"fen={dataset}", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*words, "--trees"])
    assert result.exit_code == InvalidInputError.exit_code
    assert "--trees: grows trees for tasks of the kind tabular" in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()


def test_a_job_may_say_how_trees_grow_and_need_not(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(rule_task().to_yaml())
    file = tmp_path / "job.yaml"
    file.write_text("name: rule\ndescription: d\n")
    assert Job.read_folder(tmp_path).job.trees is None
    file.write_text("name: rule\ndescription: d\ntrees: {rounds: 9, depth: 2}\n")
    job = Job.read_folder(tmp_path)
    assert job.job.trees == TreeSettings(rounds=9, depth=2)
    job.write_json(tmp_path / "travels.json")
    assert Job.read_json(tmp_path / "travels.json") == job


@pytest.mark.parametrize(
    "settings",
    [{"rounds": 0}, {"depth": 13}, {"learning_rate": 0}, {"learning_rate": 1.5}, {"subsample": 0}, {"objective": "x"}],
    ids=json.dumps,
)
def test_settings_that_cannot_grow_a_tree_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(settings))):
        TreeSettings.check(settings, "job.yaml: trees")
