"""Losses from the task contract."""

import torch
from monai.losses import DiceCELoss, DiceFocalLoss

from radfed.task import SegmentationTask


def build_loss(task: SegmentationTask) -> torch.nn.Module:
    """Loss of logits ``(B, K + 1, H, W, D)`` against class indices ``(B, 1, H, W, D)``, or without D.

    Dice is taken over the batch: a patch without a structure then does not dominate.
    """
    loss: torch.nn.Module
    match task.loss:
        case "dice_ce":
            loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
        case "dice_focal":
            loss = DiceFocalLoss(softmax=True, to_onehot_y=True, batch=True)
    return loss
