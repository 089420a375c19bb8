"""A run's network behind the same calls as a release's."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.errors import InvalidInputError
from radfed.task import OutcomeTask, SegmentationTask, TaskSpec
from radfed.training.predictor import OutcomePredictor, TorchPredictor
from radfed.weights import Weights


@dataclass(frozen=True)
class TorchModel:
    """A network with its contract; see ``radfed.privacy.leakage_scores.Model``.

    Attributes:
        task: the contract.
        weights_digest: SHA-256 of the weights.
    """

    task: SegmentationTask | OutcomeTask
    weights_digest: str
    _network: TorchPredictor | OutcomePredictor

    @classmethod
    def of(cls, task: TaskSpec, weights: Weights, digest: str, device: torch.device | None = None) -> Self:
        """The task's network with these weights, on the CPU unless another device is given.

        Raises:
            InvalidInputError: there is no network for tasks of this kind.
        """
        device = device or torch.device("cpu")
        match task:
            case SegmentationTask():
                return cls(task, digest, TorchPredictor.of(task, weights, device))
            case OutcomeTask():
                return cls(task, digest, OutcomePredictor.of(task, weights, device))
            case _:
                raise InvalidInputError(f"{task.name}: tasks of the kind {task.kind} have no network to audit")

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits ``(B, K + 1, *window)`` of windows ``(B, C, *window)``."""
        assert isinstance(self._network, TorchPredictor)
        return self._network(windows)

    def answer(
        self, image: NDArray[np.float32] | None = None, covariates: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Logits ``(B, outputs)`` of images ``(B, C, *size)`` and records ``(B, width)``."""
        assert isinstance(self._network, OutcomePredictor)
        return self._network.answer(image, covariates)
