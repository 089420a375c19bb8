"""Gradient-boosted trees over encoded records (Chen and Guestrin 2016), as a yardstick for networks on records.

Of two classes the trees give the log odds of the second. Of more, each round has a tree for each class, against all
others. Needs xgboost, which ``radfed[trees]`` installs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xgboost import Booster, DMatrix

from radfed.errors import FederationError
from radfed.preprocessing.gaps import with_gaps
from radfed.task import OutcomeTask
from radfed.training.outcome_samples import OutcomeSample
from radfed.training.outcome_scores import overall


@dataclass(frozen=True)
class Trees:
    """A model of trees behind the same call as a network.

    Attributes:
        task: the contract, of records with classes.
        booster: its trees, that begin from even odds.
    """

    task: OutcomeTask
    booster: Booster

    def answer(
        self,
        image: NDArray[np.float32] | None = None,
        covariates: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Logits ``(B, outputs)`` of encoded records ``(B, width)``; their softmax are the probabilities."""
        assert covariates is not None  # a tabular task has covariates
        return _logits(self.booster, covariates, self.task, 0)


@dataclass(frozen=True)
class ChosenTrees:
    """The trees up to the best round.

    Attributes:
        trees: the model.
        round: after which it was best, from 1.
        metric: 1 less its mean Brier score on the validation cases; None without any.
    """

    trees: Trees
    round: int
    metric: float | None


def outputs_of(task: OutcomeTask) -> int:
    """Trees that one update has: a single one for two classes."""
    return 1 if task.outputs == 2 else task.outputs


def tree_data(samples: Sequence[OutcomeSample], task: OutcomeTask) -> DMatrix:
    """Cases to grow trees on, weighted by the task's class weights.

    All begin from even odds. Without that XGBoost begins at each site with the site's own class frequency, and trees of
    sites that began elsewhere do not add up.

    Args:
        samples: at least one, of a task of records with classes.
        task: the contract.
    """
    classes = np.array([sample.target[0] for sample in samples], dtype=np.int64)
    labels = classes.astype(np.float32) if outputs_of(task) == 1 else np.eye(task.outputs, dtype=np.float32)[classes]
    weights = np.array(task.class_weights or [1.0] * task.outputs, dtype=np.float32)[classes]
    records = with_gaps(_records(samples), task)
    return DMatrix(records, label=labels, weight=weights, base_margin=np.zeros_like(labels), nthread=1)


def best_trees(
    model: dict[str, Any], rounds: int, sites: int, task: OutcomeTask, validation: Sequence[OutcomeSample]
) -> ChosenTrees:
    """The trees up to the round that is best on validation cases, as a federation keeps the best of its rounds.

    Args:
        model: all trees, as XGBoost's JSON.
        rounds: of boosting.
        sites: how many added trees in each round.
        task: the contract.
        validation: of all sites; without any the last round stands.

    Raises:
        FederationError: a site's trees are missing in some round.
    """
    booster = _from_even_odds(model, task)
    if booster.num_boosted_rounds() != rounds * sites:
        raise FederationError(
            f"the trees are not complete: {rounds} rounds of {sites} sites make {rounds * sites} updates, "
            f"got {booster.num_boosted_rounds()}"
        )
    if not validation:
        return ChosenTrees(Trees(task, booster), rounds, None)
    records, targets = _records(validation), np.stack([sample.target for sample in validation])
    best, chosen = -1.0, rounds
    for number in range(1, rounds + 1):
        score = overall(_logits(booster, records, task, number * sites), targets, task)
        assert score is not None  # there are cases
        if score[0] > best:
            best, chosen = score[0], number
    return ChosenTrees(Trees(task, booster[: chosen * sites]), chosen, best)


def _from_even_odds(model: dict[str, Any], task: OutcomeTask) -> Booster:
    """The model with the start that the trees were grown from, and not the class frequency of the site named first."""
    model["learner"]["learner_model_param"]["base_score"] = f"[{','.join(['5E-1'] * outputs_of(task))}]"
    booster = Booster({"nthread": 1})
    booster.load_model(bytearray(json.dumps(model), "utf-8"))
    return booster


def _logits(booster: Booster, records: NDArray[np.float32], task: OutcomeTask, updates: int) -> NDArray[np.float32]:
    """Logits ``(B, outputs)`` after so many updates; 0 takes all."""
    data = DMatrix(with_gaps(records, task), nthread=1)
    odds = booster.predict(data, output_margin=True, iteration_range=(0, updates)).reshape(len(records), -1)
    if odds.shape[1] == 1:
        return np.hstack([np.zeros_like(odds), odds]).astype(np.float32)
    # The softmax of log probabilities is their share of the sum: classes against all others, made to add up to 1.
    return np.asarray(-np.logaddexp(0, -odds), dtype=np.float32)


def _records(samples: Sequence[OutcomeSample]) -> NDArray[np.float32]:
    return np.stack([sample.record for sample in samples if sample.record is not None])
