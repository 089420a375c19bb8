"""Training with differential privacy: what one patient can add, the noise, and what is refused."""

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleModule
from private_world import CPU, flat, private_training  # type: ignore[import-not-found]
from training_world import SMALL_ENCODERS, outcome_samples, outcome_task  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError, TrainingError
from radfed.job import PrivacySettings, TrainingSettings, find_job
from radfed.task import SegmentationTask
from radfed.training.kinds import trainer_for
from radfed.training.networks import build_network
from radfed.training.privacy_networks import check_private
from radfed.training.private import PrivateTraining, _reseed
from radfed.weights import weights_digest


def gradients_of(private: PrivateTraining) -> list[torch.Tensor]:
    """What the next step hands to the optimiser, which is kept from moving the weights."""
    for group in private.trainer.optimiser.param_groups:
        group["lr"] = 0.0
    seen: list[torch.Tensor] = []
    handle = private.trainer.optimiser.register_step_pre_hook(
        lambda optimiser, _args, _kwargs: seen.extend(
            p.grad.clone() for group in optimiser.param_groups for p in group["params"]
        )
    )
    private.train(0, 1)
    handle.remove()
    return seen


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(1e-3, 1e6), bound=st.floats(0.01, 10), seed=st.integers(0, 99))
def test_one_patient_changes_the_sum_of_a_step_by_no_more_than_the_bound(scale: float, bound: float, seed: int) -> None:
    task = outcome_task(covariates=3, hidden=[4])
    samples = outcome_samples(task, 5, seed)
    record = samples[0].record
    assert record is not None
    wild = dataclasses.replace(samples[0], record=(record * scale).astype(np.float32))
    sums = []
    # The same noise twice, with the wild patient and without; all others are in every step.
    for chosen in ([wild, *samples[1:]], samples[1:]):
        private = private_training(task, samples=chosen, batch_size=10, max_grad_norm=bound, noise_multiplier=0.1)
        private._entropy = lambda count: bytes(count)
        sums.append(flat(gradients_of(private)) * len(chosen))
    assert float((sums[0] - sums[1]).norm()) <= bound * (1 + 1e-3) + 1e-4


def test_several_cases_of_a_patient_add_no_more_than_one() -> None:
    private = private_training(cases=24, patients=4, batch_size=4, noise_multiplier=0.1)
    assert private.sampling_rate == 1.0
    added: list[float] = []
    whole = private._add

    def counted(gradient: Sequence[torch.Tensor]) -> None:
        added.append(float(flat(gradient).norm()))
        whole(gradient)

    private._add = counted
    private.train(0, 3)
    assert len(added) == 3 * 4


def test_the_noise_is_as_strong_as_said_and_there_without_any_patient() -> None:
    task = outcome_task(covariates=3, hidden=[64, 64])
    private = private_training(task, noise_multiplier=1.5, max_grad_norm=0.7, batch_size=8)
    private.draw = lambda: np.empty(0, dtype=np.intp)
    noise = torch.cat([flat(gradients_of(private)) for _ in range(6)]).numpy() * 8
    expected = 1.5 * 0.7
    assert abs(noise.mean()) < 4 * expected / np.sqrt(noise.size)
    # Of a standard deviation over n draws the standard error is 1 / sqrt(2 n) of it.
    assert abs(noise.std() / expected - 1) < 4 / np.sqrt(2 * noise.size)
    assert np.corrcoef(noise[: noise.size // 2], noise[noise.size // 2 :])[0, 1] < 0.05


def test_patients_are_drawn_independently_at_the_rate_that_is_accounted() -> None:
    private = private_training(cases=40, batch_size=10)
    drawn = np.zeros((4000, 40))
    for row in drawn:
        row[private.draw()] = 1
    assert private.sampling_rate == 0.25
    assert abs(drawn.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / drawn.size)
    # The number in a step is binomial, not fixed.
    assert drawn.sum(axis=1).var() == pytest.approx(40 * 0.25 * 0.75, rel=0.15)


def test_a_gradient_of_one_is_that_of_opacus_own_hooks() -> None:
    task = outcome_task(covariates=3, hidden=[4])
    private, samples = private_training(task), outcome_samples(task, 6)
    network = GradSampleModule(build_network(task, 0), loss_reduction="sum")
    network.train()
    records = torch.tensor(np.stack([sample.record for sample in samples if sample.record is not None]))
    targets = torch.tensor(np.array([sample.target[0] for sample in samples])).long()
    records.requires_grad_()  # else torch warns that Opacus' hooks have no inputs to look at
    torch.nn.functional.cross_entropy(network(records), targets, reduction="sum").backward()  # type: ignore[no-untyped-call]
    for number, sample in enumerate(samples):
        theirs = flat([parameter.grad_sample[number] for parameter in network.parameters()])
        torch.testing.assert_close(flat(private.gradient(sample, np.random.default_rng(0))), theirs)


def test_randomness_follows_from_its_source_alone() -> None:
    digests = []
    for source, seed in ((1, 0), (1, 7), (2, 0)):
        private = private_training(task=outcome_task(covariates=3), seed=source, training={"seed": seed})
        private.train(0, 4)
        digests.append(weights_digest(private.trainer.weights()))
    # A regression begins at zero whatever the job's seed is; the job's seed says nothing of noise and draws.
    assert digests[0] == digests[1] != digests[2]


def test_by_default_two_trainings_with_one_seed_differ() -> None:
    task = outcome_task(covariates=3)
    samples = outcome_samples(task, 8)
    digests = set()
    for _ in range(2):
        made = private_training(task, samples=samples)
        plain = PrivateTraining(
            made.trainer, task, made.settings, samples, {sample.case: sample.case for sample in samples}, 4
        )
        plain.train(0, 1)
        digests.add(weights_digest(made.trainer.weights()))
    assert len(digests) == 2


@pytest.mark.parametrize("position", [3, 4, 1000, 2495])
def test_the_noise_hangs_on_all_entropy_not_on_the_32_bits_that_torch_keeps_of_a_seed(position: int) -> None:
    def drawn(flip: int | None) -> list[float]:
        source = random.Random(3)

        def entropy(count: int) -> bytes:
            given = bytearray(source.randbytes(count))
            if flip is not None and count > 8:
                given[flip] ^= 0xFF
            return bytes(given)

        generator = torch.Generator()
        _reseed(generator, entropy)
        return list(torch.randn(1000, generator=generator).tolist())

    assert drawn(None) == drawn(None)
    assert drawn(position) != drawn(None)


def test_a_case_without_a_finite_gradient_adds_nothing_and_fails_nothing() -> None:
    task = outcome_task(covariates=3, hidden=[4])
    samples = outcome_samples(task, 6)
    record = np.full(task.width, np.nan, dtype=np.float32)
    broken = dataclasses.replace(samples[0], record=record)
    both = []
    for chosen in (samples[1:], [broken, *samples[1:]]):
        private = private_training(task, samples=chosen, batch_size=20)
        private._entropy = lambda count: bytes(count)
        both.append(flat(gradients_of(private)) * len(chosen))
    torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("encoder", ["DenseNet", "ResNet"])
def test_batch_normalisation_is_refused_by_name_and_instance_normalisation_is_not(encoder: str) -> None:
    size = (32, 32)
    task = outcome_task(encoder, size=size)
    network = build_network(task, 0)
    with pytest.raises(InvalidInputError, match=r"BatchNorm2d \(encoder\..* more\).*norm: instance"):
        check_private(task, network)
    assert network.training
    chosen = outcome_task(encoder, size=size, encoder_args={**SMALL_ENCODERS[encoder], "norm": "instance"})
    check_private(chosen, build_network(chosen, 0))


def test_norms_without_parameters_are_looked_at_too() -> None:
    task = outcome_task("ViT")
    for layer in (torch.nn.BatchNorm2d(4, affine=False), torch.nn.InstanceNorm2d(4, track_running_stats=True)):
        with pytest.raises(InvalidInputError, match=type(layer).__name__):
            check_private(task, torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), layer))


def test_survival_is_refused_because_its_loss_compares_patients() -> None:
    task = outcome_task(covariates=3, outcome="survival")
    with pytest.raises(InvalidInputError, match="compares patients"):
        private_training(task)


def test_a_delta_that_allows_to_give_a_patient_away_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"delta: got 0\.1, and with 24 patients"):
        private_training(delta=0.1)


def test_class_weights_keep_their_meaning_case_by_case() -> None:
    norms = []
    for weights in ((1.0, 1.0), (1.0, 3.0)):
        task = outcome_task(covariates=3, weights=weights)
        private = private_training(task)
        ill = next(sample for sample in outcome_samples(task, 10) if sample.target[0] == 1)
        norms.append(float(flat(private.gradient(ill, np.random.default_rng(0))).norm()))
    assert norms[1] == pytest.approx(3 * norms[0], rel=1e-5)


@pytest.mark.parametrize(
    ("network", "args"),
    [
        ("UNet", {"channels": [4, 8], "strides": [2], "dropout": 0.1}),
        ("SegResNet", {}),
        ("DynUNet", {"filters": [4, 8, 8], "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "res_block": True}),
    ],
)
def test_networks_that_work_in_place_are_trained_too(
    network: str, args: dict[str, object], tiny: SegmentationTask
) -> None:

    task = SegmentationTask.check(tiny.model_dump(mode="json") | {"network": {"name": network, "args": args}}, "t")
    trainer = trainer_for(task, TrainingSettings(batch_size=2), "north", 4, CPU)
    before = trainer.weights()
    case = trainer.made_up(np.random.default_rng(0))
    private = PrivateTraining(trainer, task, PrivacySettings(epsilon=8.0), [case], {case.case: "pat-1"}, 4)
    private.train(0, 2)
    after = trainer.weights()
    assert all(np.isfinite(array).all() for array in after.values())
    assert all((before[name] != after[name]).any() for name in dict(trainer.network.named_parameters()))


@pytest.fixture
def tiny() -> SegmentationTask:
    content = find_job("phantom_segmentation").task.model_dump(mode="json")
    return SegmentationTask.check(content | {"roi_size": [16, 16, 16]}, "test")
