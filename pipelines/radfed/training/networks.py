"""Networks from the task contract. The weights follow from the seed alone."""

from typing import Any

import torch
from monai.networks.nets import DynUNet, SegResNet, SwinUNETR, UNet

from radfed.task import DynUNetNetwork, SegResNetNetwork, SwinUNETRNetwork, TaskSpec, UNetNetwork


def build_network(task: TaskSpec, seed: int) -> torch.nn.Module:
    """The task's network: ``(B, C, H, W, D)`` in, logits ``(B, K + 1, H, W, D)`` out.

    Args:
        task: the contract.
        seed: of the initial weights; the global random state is left as it was.
    """
    network: torch.nn.Module
    shape = {"in_channels": len(task.channels), "out_channels": len(task.labels) + 1}
    arguments: dict[str, Any] = task.network.args.model_dump()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match task.network:
            case UNetNetwork():
                network = UNet(spatial_dims=3, **shape, **arguments)
            case SegResNetNetwork():
                network = SegResNet(spatial_dims=3, **shape, **arguments)
            case DynUNetNetwork():
                # MONAI upsamples by the strides of the stages below the first.
                network = DynUNet(spatial_dims=3, **shape, **arguments, upsample_kernel_size=arguments["strides"][1:])
            case SwinUNETRNetwork():
                network = SwinUNETR(spatial_dims=3, **shape, **arguments)
    return network
