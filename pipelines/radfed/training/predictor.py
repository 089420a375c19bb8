"""A torch network behind the same call as an ONNX model."""

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.task import TaskSpec
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
    def of(cls, task: TaskSpec, weights: Weights, device: torch.device) -> "TorchPredictor":
        """The task's network with these weights."""
        network = build_network(task, seed=0)
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        return cls(network.to(device), device)

    @torch.inference_mode()
    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network."""
        self._network.eval()
        logits: NDArray[np.float32] = self._network(torch.from_numpy(windows).to(self._device)).cpu().numpy()
        return logits
