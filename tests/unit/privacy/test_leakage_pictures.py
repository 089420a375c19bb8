"""Gradient inversion of pictures: what comes back is held against the true picture with SSIM."""

from pathlib import Path

import pytest
import torch
from tests.unit.training.training_world import outcome_task, write_outcome_dataset

from radfed.dataset.layout import Dataset
from radfed.job import FederationSettings, Job, JobSpec, TrainingSettings
from radfed.privacy.inversion import compare, invert_updates
from radfed.training.trainer import Batch

SIDE = 28


def pictures(count: int, seed: int) -> torch.Tensor:
    """Squares of different brightness somewhere ``(B, 1, SIDE, SIDE)``, with a little noise."""
    random = torch.Generator().manual_seed(seed)
    made = 0.05 * torch.randn((count, 1, SIDE, SIDE), generator=random)
    for picture in made:
        row, column = torch.randint(0, SIDE - 10, (2,), generator=random).tolist()
        picture[:, row : row + 10, column : column + 10] += 1 + float(torch.rand(1, generator=random))
    return made


def batch(inputs: torch.Tensor) -> Batch:
    return Batch((inputs,), torch.zeros(len(inputs), 1), ())


def test_the_true_picture_is_wholly_like_itself_and_its_negative_is_not() -> None:
    true, others = pictures(3, 0), pictures(16, 1)
    same = compare([true[1:2]], [batch(true)], [batch(others)])
    assert same.better
    assert same.error == 0
    assert same.ssim is not None
    assert same.ssim[0] == pytest.approx(1, abs=1e-5)
    # The mean of sixteen other pictures is blurred: less like any of them, and the same whatever was made.
    assert same.ssim[1] < 0.5
    noisy = compare([true[1:2] + 0.3 * torch.randn(1, 1, SIDE, SIDE)], [batch(true)], [batch(others)])
    assert noisy.ssim is not None
    assert noisy.ssim[0] < 0.9
    assert noisy.ssim[1] == same.ssim[1]
    # Local means are near zero, so what is left is the structure, which is turned round.
    waves = torch.sin(2.1 * torch.arange(SIDE)).expand(1, 1, SIDE, SIDE)
    negative = compare([-waves], [batch(waves)], [batch(others)])
    assert negative.ssim is not None
    assert negative.ssim[0] < 0


def test_updates_of_pictures_are_attacked(tmp_path: Path) -> None:
    small = {"layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 8, 8], "conv1_t_size": 3, "conv1_t_stride": 1}
    task = outcome_task("ResNet", size=(SIDE, SIDE), encoder_args={**small, "no_max_pool": True})
    root = write_outcome_dataset(tmp_path / "north", "north", task, {"training": 6, "validation": 2, "test": 2}, 0)
    federation, training = FederationSettings(rounds=2, local_steps=2), TrainingSettings(batch_size=3)
    job = Job(job=JobSpec(name="try", description="t", federation=federation, training=training), task=task)
    one, round_ = invert_updates(job, {"north": Dataset.read(root)}, 3).found
    assert (one.batch, one.steps, one.attacks) == (1, 1, 4)
    assert (round_.batch, round_.steps, round_.attacks) == (3, 2, 4)
    for found in (one, round_):
        # After three steps from noise nobody has the picture, and any number of SSIM lies between -1 and 1.
        assert found.ssim is not None
        assert found.ssim_baseline is not None
        assert -1 <= found.ssim < 0.9
        assert -1 <= found.ssim_baseline < 1
