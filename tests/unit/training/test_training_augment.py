import numpy as np
import pytest
import torch
from monai.data import get_track_meta

from radfed.job import TrainingSettings
from radfed.task import SegmentationTask
from radfed.training.augment import build_augmentation, draw_patch
from radfed.training.samples import Sample


def task(roi: tuple[int, int, int]) -> SegmentationTask:
    content = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "channels": [{"name": "a"}, {"name": "b"}],
        "labels": [{"value": 1, "name": "one"}, {"value": 2, "name": "two"}],
        "dimensions": 2 if roi[2] == 1 else 3,
        "roi_size": list(roi),
        "network": {"name": "UNet", "args": {"channels": [4, 8], "strides": [2]}},
        "spacing": [1, 1, 1],
    }
    return SegmentationTask.check(content, "test")


def sample(shape: tuple[int, int, int], seed: int) -> Sample:
    random = np.random.default_rng(seed)
    label = random.choice(np.arange(3, dtype=np.uint8), size=shape, p=[0.9, 0.05, 0.05])
    return Sample(f"case-{seed}", random.normal(size=(2, *shape)).astype(np.float32), label)


@pytest.mark.parametrize(
    ("roi", "shape"),
    [
        ((8, 8, 8), (12, 15, 9)),
        ((8, 8, 8), (5, 12, 7)),  # padded on two axes
        ((8, 8, 8), (8, 8, 8)),
        ((8, 16, 1), (11, 9, 6)),  # planes, padded
    ],
)
def test_a_patch_is_the_one_that_monai_draws_when_it_looks_for_the_foreground_itself(
    roi: tuple[int, int, int], shape: tuple[int, int, int]
) -> None:
    contract = task(roi)
    quick, plain = (build_augmentation(contract, TrainingSettings()) for _ in range(2))
    quick.set_random_state(seed=11)
    plain.set_random_state(seed=11)
    tracked = get_track_meta()
    for seed in range(12):
        case = sample(shape, seed)
        before = case.image.copy()
        image, label = draw_patch(quick, case, contract.roi_size)
        expected = plain({"image": case.image, "label": case.label[None].astype(np.float32)})[0]
        assert type(image) is type(label) is torch.Tensor
        assert torch.equal(image, expected["image"].as_tensor())
        assert torch.equal(label, expected["label"].as_tensor())
        assert label.dtype == torch.float32
        np.testing.assert_array_equal(case.image, before)
    assert get_track_meta() == tracked


def test_patches_follow_the_share_of_foreground() -> None:
    """Of a single marked voxel in the middle: whether the patch is centred on it."""
    label = np.zeros((21, 21, 21), dtype=np.uint8)
    label[10, 10, 10] = 1
    case = Sample("case-1", np.zeros((2, *label.shape), dtype=np.float32), label)
    still = {"affine_probability": 0.0}
    settings = TrainingSettings.check({"foreground_share": 0.75, "augmentation": still}, "test")
    contract = task((8, 8, 8))
    augmentation = build_augmentation(contract, settings)
    augmentation.set_random_state(seed=1)
    centred = [bool(draw_patch(augmentation, case, contract.roi_size)[1][0, 4, 4, 4]) for _ in range(200)]
    assert np.mean(centred) == pytest.approx(0.75, abs=0.08)
