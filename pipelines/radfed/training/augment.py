"""Random patches and their random changes, by MONAI transforms with a state of their own."""

from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandGaussianNoised,
    RandScaleIntensityd,
    SpatialPadd,
)

from radfed.job import TrainingSettings
from radfed.task import TaskSpec


def build_augmentation(task: TaskSpec, settings: TrainingSettings) -> Compose:
    """A patch of ``task.roi_size`` from a case, changed at random.

    Takes and gives ``{"image": (C, H, W, D), "label": (1, H, W, D)}``; seed it with ``set_random_state``.
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
            ),
            RandAffined(
                both,
                prob=change.affine_probability,
                rotate_range=(change.rotation,) * 3,
                scale_range=(change.scaling,) * 3,
                translate_range=(change.translation,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            RandScaleIntensityd("image", factors=0.15, prob=change.intensity_probability),
            RandAdjustContrastd("image", prob=change.intensity_probability, gamma=(0.7, 1.5)),
            RandGaussianNoised("image", prob=change.noise_probability, std=change.noise),
        ]
    )
