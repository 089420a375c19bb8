"""How much GPU memory a training step takes, from the network alone: run on no device, counting what it would keep."""

from functools import lru_cache

import torch

from radfed.task import OutcomeTask, SegmentationTask
from radfed.training.networks import build_network

GIB = 2**30
# CUDA's context with cuDNN, and what its allocator leaves unused.
_CONTEXT, _SLACK = 0.8 * GIB, 1.2
# Weights, gradients, and both moments of AdamW.
_STATES = 4


def step_memory(task: SegmentationTask | OutcomeTask, batch: int, window: tuple[int, ...] | None = None) -> float:
    """Memory of an optimiser step in float32 (bytes); mixed precision takes less.

    What autograd keeps for the backward pass grows with voxels and batch, so one run over the task's own window tells
    it for all.

    Args:
        task: names the network.
        batch: cases or patches.
        window: what the network sees at once; the task's own if None.
    """
    fixed, a_case = _kept(task)
    scale = 1.0
    if window is not None and isinstance(task, SegmentationTask):
        scale = float(torch.Size(window).numel() / torch.Size(task.window).numel())
    return _CONTEXT + _SLACK * (fixed + a_case * batch * scale)


@lru_cache(maxsize=8)
def _kept(task: SegmentationTask | OutcomeTask) -> tuple[float, float]:
    """Bytes that a step takes whatever it sees, and for each case of it."""
    network = build_network(task, 0).to("meta").train()
    weights = {parameter.untyped_storage()._cdata: parameter for parameter in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    batch = 2  # batch normalisation wants more than one
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*_inputs(task, batch))
    sizes = [storage.nbytes() for storage in kept.values()]
    fixed = _STATES * sum(parameter.numel() * parameter.element_size() for parameter in weights.values())
    # On its way back, a gradient as large as the largest of them, and the one that it is made of.
    return float(fixed), (sum(sizes) + 2 * max(sizes, default=0)) / batch


def _inputs(task: SegmentationTask | OutcomeTask, batch: int) -> tuple[torch.Tensor, ...]:
    if isinstance(task, SegmentationTask):
        return (torch.empty(batch, len(task.channels), *task.window, device="meta"),)
    image = (
        () if task.image is None else (torch.empty(batch, len(task.image.channels), *task.image.size, device="meta"),)
    )
    records = (torch.empty(batch, task.width, device="meta"),) if task.covariates else ()
    return (*image, *records)
