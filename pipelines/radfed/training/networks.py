"""Networks from the task contract. The weights follow from the seed alone."""

from typing import Any

import torch
from monai.networks.nets import DynUNet, SegResNet, SwinUNETR, UNet

from radfed.errors import InvalidInputError
from radfed.task import (
    DynUNetNetwork,
    OutcomeTask,
    SegmentationTask,
    SegResNetNetwork,
    SwinUNETRNetwork,
    TaskSpec,
    UNetNetwork,
)
from radfed.training.outcome_network import build_outcome_network


def build_network(task: TaskSpec, seed: int) -> torch.nn.Module:
    """The task's network, of segmentation or of an outcome.

    Args:
        task: the contract.
        seed: of the initial weights; the global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match task:
            case SegmentationTask():
                return _segmentation_network(task)
            case OutcomeTask():
                return build_outcome_network(task)
            case _:
                raise InvalidInputError(f"{task.name}: there is no network for tasks of the kind {task.kind}")


def _segmentation_network(task: SegmentationTask) -> torch.nn.Module:
    """``(B, C, H, W, D)`` in, logits ``(B, K + 1, H, W, D)`` out; in 2 dimensions without D."""
    network: torch.nn.Module
    shape = {
        "spatial_dims": task.dimensions,
        "in_channels": len(task.channels),
        "out_channels": len(task.labels) + 1,
    }
    arguments: dict[str, Any] = task.network.args.model_dump()
    match task.network:
        case UNetNetwork():
            network = UNet(**shape, **arguments)
        case SegResNetNetwork():
            network = SegResNet(**shape, **arguments)
        case DynUNetNetwork():
            # MONAI upsamples by the strides of the stages below the first.
            network = DynUNet(**shape, **arguments, upsample_kernel_size=arguments["strides"][1:])
        case SwinUNETRNetwork():
            network = SwinUNETR(**shape, **arguments)
    return network
