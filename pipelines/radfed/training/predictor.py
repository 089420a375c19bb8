"""A torch network behind the same calls as an ONNX model."""

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.task import OutcomeTask, SegmentationTask, TaskSpec
from radfed.training.networks import build_network
from radfed.weights import Weights


class TorchPredictor:
    """Logits ``(B, K + 1, *roi)`` for windows ``(B, C, *roi)``, in full precision.

    Args:
        network: in any mode.
        device: where it lies.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self._network, self._device = network, device

    @classmethod
    def of(cls, task: SegmentationTask, weights: Weights, device: torch.device) -> "TorchPredictor":
        """The task's network with these weights."""
        return cls(_network(task, weights, device), device)

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network."""
        return _run(self._network, self._device, windows)


class OutcomePredictor:
    """Logits ``(B, outputs)`` for prepared images and encoded records, in full precision.

    Args:
        network: of an outcome task, in any mode.
        device: where it lies.
    """

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self._network, self._device = network, device

    @classmethod
    def of(cls, task: OutcomeTask, weights: Weights, device: torch.device) -> "OutcomePredictor":
        """The task's network with these weights."""
        return cls(_network(task, weights, device), device)

    def answer(
        self, image: NDArray[np.float32] | None = None, covariates: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Logits of a batch of cases.

        Args:
            image: ``(B, C, *size)``; None where the task has no image.
            covariates: ``(B, width)``; None where the task has none.
        """
        return _run(self._network, self._device, *(value for value in (image, covariates) if value is not None))


def _network(task: TaskSpec, weights: Weights, device: torch.device) -> torch.nn.Module:
    network = build_network(task, seed=0)
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return network.to(device)


@torch.inference_mode()
def _run(network: torch.nn.Module, device: torch.device, *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    network.eval()
    logits: NDArray[np.float32] = network(*(torch.from_numpy(value).to(device) for value in inputs)).cpu().numpy()
    return logits
