"""Random patches and their random changes, by MONAI transforms with a state of their own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import get_track_meta, set_track_meta
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandGaussianNoised,
    RandScaleIntensityd,
    SpatialPadd,
    SqueezeDimd,
)
from numpy.typing import NDArray

from radfed.job import TrainingSettings
from radfed.task import SegmentationTask
from radfed.training.samples import Sample

_FOREGROUND, _BACKGROUND = "foreground", "background"


def build_augmentation(task: SegmentationTask, settings: TrainingSettings) -> Compose:
    """A patch of ``task.roi_size`` from a case, changed at random.

    Takes ``{"image": (C, H, W, D), "label": (1, H, W, D)}`` with the places of foreground and background, see
    ``draw_patch``; seed it with ``set_random_state``. In 2 dimensions it gives a patch of one plane, ``(C, H, W)`` and
    ``(1, H, W)``, which is turned and moved in its plane only; planes with foreground are drawn as often as patches
    with foreground are of a volume.
    """
    change = settings.augmentation
    both = ("image", "label")
    return Compose(
        [
            SpatialPadd(both, task.roi_size),
            RandCropByPosNegLabeld(
                both,
                label_key="label",
                spatial_size=task.roi_size,
                pos=settings.foreground_share,
                neg=1 - settings.foreground_share,
                num_samples=1,
                fg_indices_key=_FOREGROUND,
                bg_indices_key=_BACKGROUND,
            ),
            *([SqueezeDimd(both, dim=-1, update_meta=False)] if task.dimensions == 2 else []),
            RandAffined(
                both,
                prob=change.affine_probability,
                rotate_range=(change.rotation,) * (3 if task.dimensions == 3 else 1),
                scale_range=(change.scaling,) * task.dimensions,
                translate_range=(change.translation,) * task.dimensions,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandScaleIntensityd("image", factors=0.15, prob=change.intensity_probability),
            RandAdjustContrastd("image", prob=change.intensity_probability, gamma=(0.7, 1.5)),
            RandGaussianNoised("image", prob=change.noise_probability, std=change.noise),
        ]
    )


def draw_patch(augmentation: Compose, sample: Sample, roi: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A random patch of a case: image ``(C, *roi)`` and label ``(1, *roi)``, float32.

    The same patch as MONAI's transforms draw when they look for the foreground themselves, in every single case.
    """
    shape = tuple(max(size, side) for size, side in zip(sample.label.shape, roi, strict=True))
    foreground = _padded(sample.foreground, sample.label.shape, shape)
    data = {
        "image": torch.from_numpy(sample.image),
        "label": torch.from_numpy(sample.label[None]),
        _FOREGROUND: foreground,
        _BACKGROUND: _Background.of(foreground, int(np.prod(shape))),
    }
    with _untracked():
        patch = augmentation(data)[0]
    return patch["image"], patch["label"].to(torch.float32)


@dataclass(frozen=True)
class _Background:
    """The places that are no foreground, in order; only those that are asked for are worked out."""

    skips: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, foreground: NDArray[np.int64], voxels: int) -> "_Background":
        # Before each place of the foreground lie this many of the background.
        return cls(foreground - np.arange(len(foreground)), voxels - len(foreground))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> int:
        return number + int(np.searchsorted(self.skips, number, side="right"))


def _padded(places: NDArray[np.int64], shape: Sequence[int], padded: Sequence[int]) -> NDArray[np.int64]:
    """Flat places in an array, after it was padded on both sides as ``SpatialPadd`` does."""
    if tuple(shape) == tuple(padded):
        return places
    inside = np.unravel_index(places, shape)
    moved = [axis + (after - before) // 2 for axis, before, after in zip(inside, shape, padded, strict=True)]
    return np.asarray(np.ravel_multi_index(tuple(moved), tuple(padded)), dtype=np.int64)


@contextmanager
def _untracked() -> Iterator[None]:
    """MONAI's transforms give plain tensors: what they would note on each takes as long as what they do to it."""
    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)
