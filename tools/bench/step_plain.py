"""The plain MONAI loop of tools/bench/step.py: CacheDataset, DataLoader, dictionary transforms, as in its tutorials.

After MONAI's ``3d_segmentation/spleen_segmentation_3d`` and ``2d_classification/mednist_tutorial``. What those read,
orient and scale was done before, for both loops alike.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.losses import DiceCELoss
from monai.transforms import (
    Compose,
    EnsureTyped,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandGaussianNoised,
    RandScaleIntensityd,
    SpatialPadd,
)
from monai.utils import set_determinism

from radfed.job import Job
from radfed.task import SegmentationTask
from radfed.training.networks import build_network

# A new epoch starts the loader's processes anew: real cohorts have more cases than a benchmark makes up.
_LEAST = 200


def plain_steps(
    job: Job, cases: Sequence[tuple[np.ndarray, np.ndarray]], workers: int, device: str
) -> Callable[[int, int], float]:
    """What takes the number of the first step and how many, and gives the mean loss."""
    set_determinism(seed=job.job.training.seed)
    # That is for runs that can be repeated; the tutorials' loops then run without deterministic kernels.
    torch.use_deterministic_algorithms(False)
    segments = isinstance(job.task, SegmentationTask)
    loader = _loader(job, cases, workers, segments)
    model = build_network(job.task, job.job.training.seed).to(device)
    loss_function: torch.nn.Module = torch.nn.CrossEntropyLoss()
    if segments:
        loss_function = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), job.job.training.learning_rate, weight_decay=job.job.training.weight_decay
    )
    batches = _without_end(loader)

    def take(_first: int, steps: int) -> float:
        model.train()
        epoch_loss = 0.0
        for _ in range(steps):
            batch_data = next(batches)
            inputs, labels = batch_data["image"].to(device), batch_data["label"].to(device)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = loss_function(outputs, labels if segments else labels[:, 0].long())
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        return epoch_loss / steps

    return take


def _loader(job: Job, cases: Sequence[tuple[np.ndarray, np.ndarray]], workers: int, segments: bool) -> DataLoader:
    times = -(-_LEAST // len(cases))
    files = [
        {"image": image, "label": label[None].astype(np.float32) if segments else label}
        for _ in range(times)
        for image, label in cases
    ]
    dataset = CacheDataset(files, _transforms(job), cache_rate=1.0, progress=False)
    return DataLoader(dataset, batch_size=job.job.training.batch_size, shuffle=True, num_workers=workers)


def _transforms(job: Job) -> Compose:
    """The changes that radfed makes, as the tutorials would have them made."""
    settings = job.job.training
    change = settings.augmentation
    keys, axes = ["image", "label"], 3
    first: list[Any] = [EnsureTyped(keys)]
    moved = keys
    if isinstance(job.task, SegmentationTask):
        roi = job.task.roi_size
        first += [
            SpatialPadd(keys, roi),
            RandCropByPosNegLabeld(
                keys,
                label_key="label",
                spatial_size=roi,
                pos=settings.foreground_share,
                neg=1 - settings.foreground_share,
                num_samples=1,
            ),
        ]
    else:
        moved, axes = ["image"], 2
    return Compose(
        [
            *first,
            RandAffined(
                moved,
                prob=change.affine_probability,
                rotate_range=(change.rotation,) * (3 if axes == 3 else 1),
                scale_range=(change.scaling,) * axes,
                translate_range=(change.translation,) * axes,
                mode=("bilinear", "nearest")[: len(moved)],
                padding_mode="border",
            ),
            RandScaleIntensityd("image", factors=0.15, prob=change.intensity_probability),
            RandAdjustContrastd("image", prob=change.intensity_probability, gamma=(0.7, 1.5)),
            RandGaussianNoised("image", prob=change.noise_probability, std=change.noise),
        ]
    )


def _without_end(loader: DataLoader) -> Iterator[dict[str, Any]]:
    return chain.from_iterable(repeat(loader))
