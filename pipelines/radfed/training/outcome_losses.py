"""Losses of outcome tasks. Targets are float32, one row a case, as ``radfed.training.outcome_samples`` encodes them."""

import torch
from torch import nn

from radfed.task import MultiClass, MultiLabel, OutcomeTask, Survival


class CrossEntropy(nn.Module):
    """Cross entropy of logits ``(B, K)`` against class indices ``(B, 1)``, classes weighted."""

    def __init__(self, weights: tuple[float, ...] | None) -> None:
        super().__init__()
        self.weights: torch.Tensor | None
        self.register_buffer("weights", None if weights is None else torch.tensor(weights))

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return nn.functional.cross_entropy(logits, target[:, 0].long(), weight=self.weights)


class FindingsLoss(nn.Module):
    """Binary cross entropy of logits ``(B, K)`` against 0 and 1, positive cases of each finding weighted."""

    def __init__(self, weights: tuple[float, ...] | None) -> None:
        super().__init__()
        self.weights: torch.Tensor | None
        self.register_buffer("weights", None if weights is None else torch.tensor(weights))

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=self.weights)


class CoxLoss(nn.Module):
    """Negative partial log likelihood (Cox 1972) over the batch, a mean over its events; ties as Breslow (1974).

    Of log hazards ``(B, 1)`` against times and events ``(B, 2)``. A batch without an event teaches nothing: 0.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss."""
        time, event = target[:, 0], target[:, 1]
        order = torch.argsort(time, descending=True, stable=True)
        hazard, time, event = logits[order, 0], time[order], event[order]
        # Who is still watched at a time stands before the first one who is watched for a shorter one.
        at_risk = torch.searchsorted(-time, -time, right=True)
        risk = torch.logcumsumexp(hazard, dim=0)[at_risk - 1]
        return ((risk - hazard) * event).sum() / event.sum().clamp(min=1)


def build_outcome_loss(task: OutcomeTask) -> nn.Module:
    """The loss that the outcome asks for."""
    match task.outcome:
        case MultiClass():
            return CrossEntropy(task.class_weights)
        case MultiLabel():
            return FindingsLoss(task.class_weights)
        case Survival():
            return CoxLoss()
