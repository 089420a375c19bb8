import numpy as np
import pytest
import torch

from radfed.errors import TrainingError
from radfed.job import TrainingSettings
from radfed.task import SegmentationTask
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


def task(name: str = "UNet", loss: str = "dice_ce") -> SegmentationTask:
    roi = [64, 32, 32] if name == "SwinUNETR" else [16, 16, 16]
    content = {
        "name": "t",
        "description": "d",
        "intended_use": "i",
        "channels": [{"name": "c"}],
        "labels": [{"value": 1, "name": "a"}],
        "roi_size": roi,
        "network": {"name": name, "args": NETWORKS[name]},
        "spacing": [1, 1, 1],
        "loss": loss,
    }
    return SegmentationTask.check(content, "test")


def sample(seed: int, size: int = 18) -> Sample:
    """A bright ball in noise."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(6, size - 6, size=3)
    distance = np.linalg.norm(np.indices((size,) * 3).T - centre, axis=-1).T
    label = (distance < 4).astype(np.uint8)
    image = (label * 2 + rng.normal(0, 0.3, label.shape)).astype(np.float32)[None]
    return Sample(f"case-{seed}", image, label)


SAMPLES = [sample(seed) for seed in range(4)]
STEPS = 80
CPU = torch.device("cpu")


def trainer(settings: TrainingSettings | None = None, name: str = "UNet", loss: str = "dice_ce") -> SegmentationTrainer:
    return SegmentationTrainer(task(name, loss), settings or TrainingSettings(), "site-a", STEPS, CPU)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_contract_trains(name: str) -> None:
    one = trainer(name=name)
    before = weights_digest(one.weights())
    assert np.isfinite(one.train(SAMPLES, 0, 1).loss)
    assert weights_digest(one.weights()) != before


@pytest.mark.parametrize("loss", ["dice_ce", "dice_focal"])
def test_it_learns(loss: str) -> None:
    one = trainer(loss=loss)
    start = one.validate(SAMPLES)
    one.train(SAMPLES, 0, STEPS)
    end = one.validate(SAMPLES)
    assert start is not None
    assert end is not None
    assert end.metric > max(0.7, start.metric)


def test_one_seed_gives_one_model_also_when_a_round_is_trained_by_a_new_process() -> None:
    digests = []
    for _ in range(2):
        torch.manual_seed(123)  # what ran before in the process must not matter
        one = trainer()
        one.train(SAMPLES, 0, 3)
        digests.append(weights_digest(one.weights()))
        torch.rand(7)
    assert digests[0] == digests[1]
    other = trainer(TrainingSettings(seed=1))
    other.train(SAMPLES, 0, 3)
    assert weights_digest(other.weights()) != digests[0]


def test_initial_weights_follow_the_seed_and_leave_the_global_state_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build_network(task(), seed=5)
    assert torch.rand(1) == expected


def test_a_loss_that_is_no_number_names_step_and_cases() -> None:
    broken = Sample("case-broken", np.full((1, 18, 18, 18), np.nan, dtype=np.float32), SAMPLES[0].label)
    with pytest.raises(TrainingError, match=r"loss is nan at step 7, in a batch of case-broken, case-broken"):
        trainer().train([broken], 7, 1)


def test_no_cases_is_an_error_for_training_and_nothing_for_validation() -> None:
    with pytest.raises(TrainingError, match="no training case"):
        trainer().train([], 0, 1)
    assert trainer().validate([]) is None


def test_a_stop_ends_the_stretch_early() -> None:
    asked = iter([False, False, True])
    one = trainer()
    one.train(SAMPLES, 0, 30, stop=lambda: next(asked))
    assert next(asked, None) is None


def test_the_learning_rate_warms_up_and_decays_over_the_whole_federation() -> None:
    one = trainer(TrainingSettings(learning_rate=0.1, warmup_steps=4))
    rates = [one.learning_rate(step) for step in range(STEPS)]
    assert rates[0] == pytest.approx(0.025)
    assert max(rates) == rates[3]
    assert rates[-1] < 0.01


@pytest.mark.gpu
def test_it_trains_on_cuda() -> None:
    one = SegmentationTrainer(task(), TrainingSettings(), "site-a", STEPS, torch.device("cuda"))
    one.train(SAMPLES, 0, STEPS)
    end = one.validate(SAMPLES)
    assert end is not None
    assert end.metric > 0.7
