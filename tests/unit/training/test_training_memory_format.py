import numpy as np
import pytest
import torch
from monai.networks.nets import ResNet

from radfed.job import find_job
from radfed.training.device import bears_channels_last
from radfed.training.kinds import trainer_for
from radfed.training.networks import build_network

CPU = torch.device("cpu")


def resnet(*planes: int) -> ResNet:
    return ResNet("basic", [1, 1, 1, 1], list(planes), spatial_dims=2, n_input_channels=1, num_classes=2)


@pytest.mark.parametrize(
    ("planes", "bears"), [((16, 32, 32, 32), True), ((4, 8, 8, 16), False), ((16, 8, 16, 16), False)]
)
def test_strided_one_point_convolutions_of_few_channels_keep_the_network_in_the_usual_format(
    planes: tuple[int, ...], bears: bool
) -> None:
    assert bears_channels_last(resnet(*planes)) == bears


@pytest.mark.parametrize("name", ["pneumonia_classification", "lv_segmentation_2d", "phantom_segmentation"])
def test_a_step_has_the_same_gradients_in_both_formats(name: str) -> None:
    job = find_job(name)
    trainer = trainer_for(job.task, job.job.training, "site-a", 10, CPU)
    plain = build_network(job.task, job.job.training.seed)
    case = trainer.made_up(np.random.default_rng(0))
    [batch] = list(trainer.batches([case], np.random.default_rng(1), 2, 1))
    for network, images in ((trainer.network, batch.inputs[0]), (plain, batch.inputs[0].contiguous())):
        network.train()
        torch.manual_seed(0)
        trainer.loss(network(images), batch.target).backward()
    for (parameter, own), usual in zip(trainer.network.named_parameters(), plain.parameters(), strict=True):
        assert own.grad is not None
        assert usual.grad is not None
        assert torch.allclose(own.grad, usual.grad, rtol=1e-3, atol=1e-4 * float(usual.grad.abs().max() + 1)), parameter
