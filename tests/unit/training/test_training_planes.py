"""Training on planes: networks of two dimensions, patches of one plane."""

import numpy as np
import pytest
import torch

from radfed.job import TrainingSettings
from radfed.task import SegmentationTask
from radfed.training.augment import build_augmentation
from radfed.training.networks import build_network
from radfed.training.samples import Sample
from radfed.training.segmentation import SegmentationTrainer
from radfed.weights import weights_digest

NETWORKS = {
    "UNet": {"channels": [4, 8], "strides": [2]},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "DynUNet": {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "filters": [4, 8, 8]},
    "SwinUNETR": {"feature_size": 12, "depths": [1, 1, 1, 1], "window_size": 4},
}
CPU = torch.device("cpu")
STEPS = 120


def task(name: str = "UNet") -> SegmentationTask:
    content = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "channels": [{"name": "c"}],
        "labels": [{"value": 1, "name": "a"}],
        "dimensions": 2,
        "roi_size": [64, 32, 1] if name == "SwinUNETR" else [16, 20, 1],
        "network": {"name": name, "args": NETWORKS[name]},
        "spacing": [1, 1, 1],
    }
    return SegmentationTask.check(content, "test")


def sample(seed: int, planes: int) -> Sample:
    """A bright disc in the noise of each plane but the first."""
    rng = np.random.default_rng(seed)
    label = np.zeros((26, 22, planes), dtype=np.uint8)
    for index in range(1 if planes > 1 else 0, planes):
        centre = rng.uniform(7, 15, size=2)
        label[..., index] = np.linalg.norm(np.indices((26, 22)).T - centre, axis=-1).T < 4
    image = (label * 2 + rng.normal(0, 0.3, label.shape)).astype(np.float32)[None]
    return Sample(f"case-{seed}", image, label)


SAMPLES = [sample(seed, planes) for seed, planes in enumerate((1, 1, 5, 3))]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_on_planes(name: str) -> None:
    one = SegmentationTrainer(task(name), TrainingSettings(), "site-a", STEPS, CPU)
    assert {parameter.dim() for parameter in one.network.parameters()} <= {1, 2, 4}
    before = weights_digest(one.weights())
    assert np.isfinite(one.train(SAMPLES, 0, 1).loss)
    assert weights_digest(one.weights()) != before


def test_it_learns_and_scores_stacks_of_planes() -> None:
    one = SegmentationTrainer(task(), TrainingSettings(), "site-a", STEPS, CPU)
    start = one.validate(SAMPLES)
    one.train(SAMPLES, 0, STEPS)
    end = one.validate(SAMPLES)
    assert start is not None
    assert end is not None
    assert end.metric > max(0.7, start.metric)
    assert len(one.test(SAMPLES)["a"]) == len(SAMPLES)


def test_a_patch_is_of_one_plane_and_shows_foreground_as_often_as_asked() -> None:
    """The first plane holds nothing and all planes differ in brightness, so that each patch tells where it is from."""
    calm = {"affine_probability": 0, "intensity_probability": 0, "noise_probability": 0}
    settings = TrainingSettings(foreground_share=0.8, augmentation=calm)
    label = np.zeros((1, 26, 22, 3), dtype=np.float32)
    label[:, 12, 10, 2] = 1
    image = np.broadcast_to(np.array([1, 2, 3], dtype=np.float32), (1, 26, 22, 3)).copy()
    patches = build_augmentation(task(), settings).set_random_state(seed=1)
    drawn = [patches({"image": image, "label": label})[0] for _ in range(150)]
    assert {tuple(one["image"].shape) for one in drawn} == {(1, 16, 20)}
    assert all(len(np.unique(one["image"])) == 1 for one in drawn)
    planes = np.array([float(one["image"].max()) for one in drawn])
    assert set(planes) == {1, 2, 3}
    assert 0.75 < np.mean([bool(one["label"].any()) for one in drawn]) < 0.95
    assert all(planes[index] == 3 for index, one in enumerate(drawn) if one["label"].any())


def test_planes_smaller_than_the_patch_are_padded() -> None:
    small = Sample("case-s", np.ones((1, 9, 11, 2), dtype=np.float32), np.ones((9, 11, 2), dtype=np.uint8))
    one = SegmentationTrainer(task(), TrainingSettings(), "site-a", STEPS, CPU)
    assert np.isfinite(one.train([small], 0, 2).loss)
    assert one.validate([small]) is not None


@pytest.mark.parametrize("name", ["UNet", "DynUNet"])
def test_a_plane_is_seen_as_monais_network_of_two_dimensions_sees_it(name: str) -> None:
    network = build_network(task(name), seed=0).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 16, 20)).shape == (2, 2, 16, 20)
        with pytest.raises(RuntimeError):
            network(torch.zeros(2, 1, 16, 20, 8))
