import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from scipy.special import expit
from tests.unit.training.records_rule import rule_task, write_rule_dataset

from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SplitName
from radfed.errors import FederationError
from radfed.inference.outcome import probabilities
from radfed.preprocessing.gaps import with_gaps
from radfed.task import OutcomeTask
from radfed.training.outcome_samples import OutcomeSample, load_outcome_samples
from radfed.training.outcome_scores import by_case
from radfed.training.trees import best_trees, tree_data

ROUNDS = 12
TWO, THREE = rule_task(), rule_task(("alike", "right", "left"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    for task, name in ((TWO, "two"), (THREE, "three")):
        write_rule_dataset(folder / name, name, task, seed=3)
    return folder


def samples_of(root: Path, task: OutcomeTask, split: SplitName = "training") -> list[OutcomeSample]:
    return load_outcome_samples(Dataset.read(root / ("two" if task is TWO else "three")), split, task)


def grown(samples: list[OutcomeSample], task: OutcomeTask, rounds: int = ROUNDS) -> dict[str, Any]:
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 4}, tree_data(samples, task), rounds)
    model: dict[str, Any] = json.loads(booster.save_raw("json"))
    return model


def records_of(samples: list[OutcomeSample]) -> NDArray[np.float32]:
    return np.stack([sample.record for sample in samples if sample.record is not None])


def targets_of(samples: list[OutcomeSample]) -> NDArray[np.float32]:
    return np.stack([sample.target for sample in samples])


@pytest.mark.parametrize("task", [TWO, THREE], ids=["two classes", "three classes"])
def test_trees_learn_what_two_numbers_say_together(root: Path, task: OutcomeTask) -> None:
    model = grown(samples_of(root, task), task)
    trees = best_trees(model, ROUNDS, 1, task, samples_of(root, task, "validation")).trees
    test = samples_of(root, task, "test")
    logits = trees.answer(covariates=records_of(test))
    assert logits.shape == (len(test), task.outputs)
    assert by_case(logits, targets_of(test), task)["accuracy"].mean() > 0.8
    np.testing.assert_allclose(probabilities(logits, task).sum(axis=1), 1)


def test_the_probability_of_the_second_class_is_what_xgboost_says_of_the_saved_file(root: Path, tmp_path: Path) -> None:
    trees = best_trees(grown(samples_of(root, TWO), TWO), ROUNDS, 1, TWO, []).trees
    trees.booster.save_model(tmp_path / "trees.json")
    records = records_of(samples_of(root, TWO, "test"))
    read = xgboost.Booster(model_file=tmp_path / "trees.json")
    said = read.predict(xgboost.DMatrix(with_gaps(records, TWO)))
    np.testing.assert_allclose(probabilities(trees.answer(covariates=records), TWO)[:, 1], said, rtol=1e-5)


def test_classes_against_all_others_share_one(root: Path) -> None:
    trees = best_trees(grown(samples_of(root, THREE), THREE), ROUNDS, 1, THREE, []).trees
    records = records_of(samples_of(root, THREE, "test"))
    odds = trees.booster.predict(xgboost.DMatrix(with_gaps(records, THREE)), output_margin=True)
    shares = expit(odds) / expit(odds).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(trees.answer(covariates=records), THREE), shares, rtol=1e-5)


def test_the_class_frequency_of_the_site_named_first_has_no_say(root: Path) -> None:
    model = grown(samples_of(root, TWO), TWO)
    other = copy.deepcopy(model)
    other["learner"]["learner_model_param"]["base_score"] = "[9E-1]"
    records = records_of(samples_of(root, TWO, "test"))
    one, two = (best_trees(given, ROUNDS, 1, TWO, []).trees.answer(covariates=records) for given in (model, other))
    np.testing.assert_array_equal(one, two)


def test_the_best_round_on_validation_cases_is_kept(root: Path) -> None:
    training, validation = samples_of(root, TWO), samples_of(root, TWO, "validation")
    # Trees that go on and on learn a wrong rule better and better: here every second class is another.
    wrong = [
        OutcomeSample(sample.case, None, sample.record, (sample.target + number % 2) % 2)
        for number, sample in enumerate(training)
    ]
    model = grown(wrong, TWO, 40)
    chosen = best_trees(copy.deepcopy(model), 20, 2, TWO, validation)
    scores = []
    for number in range(1, 21):
        # Without validation cases all trees that are there are kept.
        kept = best_trees(_first(model, number * 2), number, 2, TWO, []).trees
        scores.append(by_case(kept.answer(covariates=records_of(validation)), targets_of(validation), TWO)["brier"])
    means = [float(score.mean()) for score in scores]
    assert chosen.round == int(np.argmax(means)) + 1
    assert chosen.round < 20
    assert chosen.metric == pytest.approx(max(means), abs=1e-6)
    assert chosen.trees.booster.num_boosted_rounds() == chosen.round * 2


def _first(model: dict[str, Any], updates: int) -> dict[str, Any]:
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(model), "utf-8"))
    cut: dict[str, Any] = json.loads(booster[:updates].save_raw("json"))
    return cut


def test_a_model_without_the_trees_of_some_site_is_refused(root: Path) -> None:
    model = grown(samples_of(root, TWO), TWO, 5)
    with pytest.raises(FederationError, match="2 rounds of 3 sites make 6 updates, got 5"):
        best_trees(model, 2, 3, TWO, [])


def test_cases_weigh_as_the_contract_says_and_begin_from_even_odds(root: Path) -> None:
    weighted = rule_task(weights=[1.0, 3.0])
    samples = samples_of(root, TWO)
    data = tree_data(samples, weighted)
    np.testing.assert_array_equal(data.get_weight(), np.where(targets_of(samples)[:, 0] == 1, 3.0, 1.0))
    assert not data.get_base_margin().any()
