import numpy as np
import pytest
import torch
from training_world import outcome_task  # type: ignore[import-not-found]

from radfed.training.outcome_losses import CoxLoss, build_outcome_loss


def breslow(hazards: list[float], times: list[float], events: list[int]) -> float:
    """The definition, written out."""
    terms = [
        hazard - np.log(sum(np.exp(h) for h, t in zip(hazards, times, strict=True) if t >= time))
        for hazard, time, event in zip(hazards, times, events, strict=True)
        if event
    ]
    return float(-np.mean(terms))


@pytest.mark.parametrize("seed", range(4))
def test_cox_is_the_partial_likelihood_by_its_definition_also_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    hazards, times = random.normal(size=12), random.integers(1, 5, size=12).astype(float)
    events = random.integers(0, 2, size=12)
    target = torch.tensor(np.stack((times, events), axis=1), dtype=torch.float32)
    logits = torch.tensor(hazards[:, None], dtype=torch.float32)
    expected = breslow(hazards.tolist(), times.tolist(), events.tolist())
    assert float(CoxLoss()(logits, target)) == pytest.approx(expected, abs=1e-5)
    order = torch.from_numpy(random.permutation(12))
    assert float(CoxLoss()(logits[order], target[order])) == pytest.approx(expected, abs=1e-5)
    assert float(CoxLoss()(logits + 7, target)) == pytest.approx(expected, abs=1e-4)


def test_a_batch_without_an_event_teaches_nothing() -> None:
    logits = torch.zeros((3, 1), requires_grad=True)
    loss = CoxLoss()(logits, torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_class_of_double_weight_counts_as_two_cases() -> None:
    logits = torch.tensor([[0.3, -0.2], [1.0, 0.5], [0.1, 0.9]])
    target = torch.tensor([[0.0], [1.0], [1.0]])
    weighted = build_outcome_loss(outcome_task(covariates=1, weights=(1.0, 2.0)))(logits, target)
    twice = [0, 1, 1, 2, 2]
    plain = build_outcome_loss(outcome_task(covariates=1))(logits[twice], target[twice])
    assert float(weighted) == pytest.approx(float(plain))


def test_the_weight_of_a_finding_is_that_of_its_positive_cases() -> None:
    task = outcome_task(covariates=1, outcome="multilabel", weights=(3.0, 1.0))
    logits = torch.zeros((1, 2))
    positive = build_outcome_loss(task)(logits, torch.tensor([[1.0, 0.0]]))
    negative = build_outcome_loss(task)(logits, torch.tensor([[0.0, 1.0]]))
    half = float(np.log(2))
    assert float(positive) == pytest.approx((3 * half + half) / 2)
    assert float(negative) == pytest.approx(half)
