"""Which networks and losses can be trained with differential privacy: those in which each patient stands alone."""

from collections.abc import Callable

import torch
from torch import nn

from radfed.errors import InvalidInputError
from radfed.task import MultiClass, OutcomeTask, Survival, TaskSpec

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_NAMED = 3


def check_private(task: TaskSpec, network: nn.Module) -> None:
    """Refuse what mixes patients: one patient's gradient would then depend on who else is in the step.

    Args:
        task: the contract.
        network: its network.

    Raises:
        InvalidInputError: the network has layers that look at the whole batch, or the loss compares patients.
    """
    from opacus.validators import ModuleValidator

    if isinstance(task, OutcomeTask) and isinstance(task.outcome, Survival):
        raise InvalidInputError(
            "training.privacy: Cox's likelihood compares patients with each other, so no part of it is one patient's; "
            "train survival without privacy, or ask for classes (such as: dead within a year)"
        )
    was_training = network.training
    network.train()
    try:
        # Module by module, because Opacus does not name the layers that it refuses.
        wrong = [
            name
            for name, layer in network.named_modules()
            if _mixes(layer) or (not list(layer.children()) and ModuleValidator.validate(layer))
        ]
    finally:
        network.train(was_training)
    if wrong:
        kinds = sorted({type(network.get_submodule(name)).__name__ for name in wrong})
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise InvalidInputError(
            f"training.privacy: {', '.join(kinds)} ({', '.join(wrong[:_NAMED])}{more}) look at all patients of a step "
            "together, or keep statistics of them; set norm: instance in the args of the network or encoder in "
            "task.yaml, or choose a network without them (SegResNet, DynUNet, SwinUNETR, ViT)"
        )


def _mixes(layer: nn.Module) -> bool:
    """Opacus looks at layers with parameters only; statistics are kept by others too."""
    return isinstance(layer, nn.modules.batchnorm._NormBase) and bool(
        layer.track_running_stats or isinstance(layer, nn.modules.batchnorm._BatchNorm)
    )


def loss_of_case(task: TaskSpec, loss: nn.Module) -> Loss:
    """The loss of one case, of logits and target with a batch axis of 1.

    Torch divides a weighted cross entropy by the weights of its batch; of one case nothing would be left of them.
    """
    if not (isinstance(task, OutcomeTask) and isinstance(task.outcome, MultiClass) and task.class_weights):
        return loss
    weights = torch.tensor(task.class_weights)

    def weighted(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(
            logits, target[:, 0].long(), weight=weights.to(logits.device), reduction="sum"
        )

    return weighted
