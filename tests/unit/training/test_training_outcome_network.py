import inspect
from pathlib import Path

import monai.networks.nets as nets
import numpy as np
import pytest
import torch
from pydantic import BaseModel
from training_world import SMALL_ENCODERS, outcome_samples, outcome_task  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError
from radfed.federation.aggregation import Update, aggregate, refusal
from radfed.inference.header import inputs_of
from radfed.inference.model import OnnxModel
from radfed.job import TrainingSettings
from radfed.release.export import export_onnx
from radfed.task import OutcomeTask
from radfed.task.encoders import DenseNetArgs, ResNetArgs, ViTArgs
from radfed.training.networks import build_network
from radfed.training.outcome import OutcomeTrainer
from radfed.training.predictor import OutcomePredictor
from radfed.weights import weights_digest

CPU = torch.device("cpu")


def digest(task: OutcomeTask, seed: int) -> str:
    return weights_digest({name: t.numpy() for name, t in build_network(task, seed).state_dict().items()})


def logits(network: torch.nn.Module, task: OutcomeTask, count: int = 3) -> torch.Tensor:
    random = np.random.default_rng(0)
    image = None if task.image is None else random.normal(size=(count, 1, *task.image.size)).astype(np.float32)
    record = random.normal(size=(count, task.width)).astype(np.float32) if task.covariates else None
    return torch.from_numpy(OutcomePredictor(network, CPU).answer(image, record))


@pytest.mark.parametrize(("name", "args"), [("DenseNet", DenseNetArgs), ("ResNet", ResNetArgs), ("ViT", ViTArgs)])
def test_every_argument_of_the_contract_is_one_of_monais_encoder(name: str, args: type[BaseModel]) -> None:
    assert set(args.model_fields) <= set(inspect.signature(getattr(nets, name)).parameters)


@pytest.mark.parametrize("encoder", SMALL_ENCODERS)
@pytest.mark.parametrize("size", [(32, 48), (32, 32, 48)])
@pytest.mark.parametrize("covariates", [0, 2])
def test_every_encoder_answers_once_a_case_and_learns_from_all_that_goes_in(
    encoder: str, size: tuple[int, ...], covariates: int
) -> None:
    task = outcome_task(encoder, covariates, "multilabel", size, hidden=(4,), head=(6,), dropout=0.1)
    network = build_network(task, seed=0)
    inputs = [torch.rand((2, *shape), requires_grad=True) for shape in inputs_of(task).values()]
    network(*inputs).square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in inputs)
    idle = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    # MONAI's transformer blocks hold a norm for cross attention that a ViT has not got.
    assert all("norm_cross_attn" in name for name in idle)
    found = logits(network, task)
    assert found.shape == (3, 2)
    assert torch.isfinite(found).all()


def test_the_norm_asked_for_is_the_norm_built_and_can_be_learned() -> None:
    for encoder in ("DenseNet", "ResNet", "EfficientNet"):
        args = SMALL_ENCODERS[encoder] | {"norm": "instance"}
        modules = list(build_network(outcome_task(encoder, encoder_args=args, size=(64, 64)), seed=0).modules())
        norms = [module for module in modules if isinstance(module, torch.nn.InstanceNorm2d)]
        assert norms
        assert all(module.affine for module in norms)
        assert not [module for module in modules if isinstance(module, torch.nn.BatchNorm2d)]


def test_weights_follow_from_the_seed_alone() -> None:
    task = outcome_task("ViT", 3, hidden=(4,))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first = digest(task, 1)
    assert torch.rand(1) == expected
    assert digest(task, 1) == first
    assert digest(task, 2) != first


@pytest.mark.parametrize("outcome", ["multiclass", "multilabel", "survival"])
def test_with_nothing_hidden_it_is_a_regression_that_begins_at_zero(outcome: str) -> None:
    task = outcome_task(covariates=3, outcome=outcome)
    state = build_network(task, seed=4).state_dict()
    shapes = {tuple(tensor.shape) for tensor in state.values()}
    # Cox's likelihood knows no constant.
    assert shapes == ({(1, 6)} if outcome == "survival" else {(2, 6), (2,)})
    assert all(not tensor.any() for tensor in state.values())


def test_nothing_normalises_records_by_their_batch() -> None:
    network = build_network(outcome_task("DenseNet", 3, hidden=(8, 8), head=(8,)), seed=0)
    parts = [network.get_submodule(name) for name in ("records", "head")]
    names = {type(module).__name__ for part in parts for module in part.modules()}
    assert names == {"Sequential", "Linear", "ReLU"}


def test_an_image_of_which_the_encoder_leaves_nothing_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"image.size \(28, 28\) does not fit the encoder DenseNet .* larger"):
        build_network(outcome_task("DenseNet", encoder_args={}, size=(28, 28)), seed=0)


def test_what_sites_trained_can_be_aggregated_and_loaded_again() -> None:
    task = outcome_task("DenseNet", 2, hidden=(4,))
    trainers = [OutcomeTrainer(task, TrainingSettings(batch_size=4), f"site-{n}", 10, CPU) for n in range(2)]
    reference = trainers[0].weights()
    for number, trainer in enumerate(trainers):
        trainer.train(outcome_samples(task, 6, seed=number), 0, 1 + number)
    updates = [Update(trainer.name, trainer.weights(), 6) for trainer in trainers]
    assert all(refusal(update.weights, reference) is None for update in updates)
    model = aggregate(updates)
    counters = [array for name, array in model.items() if name.endswith("num_batches_tracked")]
    assert counters
    assert all(array == 2 for array in counters)
    trainers[0].load(model)
    assert weights_digest(trainers[0].weights()) == weights_digest(model)


@pytest.mark.parametrize(("encoder", "covariates"), [(None, 3), ("DenseNet", 0), ("ViT", 3)])
def test_onnx_runtime_answers_as_torch_does_for_any_number_of_cases(
    encoder: str | None, covariates: int, tmp_path: Path
) -> None:
    task = outcome_task(encoder, covariates, hidden=(4,) if covariates else (), head=(4,), dropout=0.2)
    network = build_network(task, seed=3)
    export_onnx(network, task, tmp_path / "model.onnx", "0" * 64)
    model = OnnxModel.load(tmp_path / "model.onnx", threads=1)
    torch_model = OutcomePredictor(network, CPU)
    for count in (1, 5):
        samples = outcome_samples(task, count)
        images = np.stack([s.image for s in samples if s.image is not None]) if encoder else None
        records = np.stack([s.record for s in samples if s.record is not None]) if covariates else None
        np.testing.assert_allclose(
            model.answer(images, records), torch_model.answer(images, records), rtol=0, atol=1e-5
        )
