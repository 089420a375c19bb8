"""Networks with one answer a case: an image encoder, a branch for the record, and a head on what both give."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from monai.networks.nets import DenseNet, EfficientNetBN, ResNet, ViT
from torch import nn

from radfed.errors import InvalidInputError
from radfed.task import (
    DenseNetEncoder,
    EfficientNetEncoder,
    ImageInput,
    OutcomeNetwork,
    OutcomeTask,
    ResNetEncoder,
    Survival,
    ViTEncoder,
)

# MONAI's instance norm has no parameters unless it is told to; EfficientNet's batch norm forgets over a hundred
# batches, more than a site takes between two aggregations.
_NORMS = {"batch": "batch", "instance": ("instance", {"affine": True})}
_EFFICIENTNET_NORMS = {"batch": ("batch", {"eps": 1e-3, "momentum": 0.1}), "instance": _NORMS["instance"]}


class ImageNetwork(nn.Module):
    """Logits ``(B, outputs)`` of images ``(B, C, *size)``."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        logits: torch.Tensor = self.head(self.encoder(image))
        return logits


class RecordNetwork(nn.Module):
    """Logits ``(B, outputs)`` of encoded records ``(B, width)``."""

    def __init__(self, records: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.records, self.head = records, head

    def forward(self, covariates: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        logits: torch.Tensor = self.head(self.records(covariates))
        return logits


class FusedNetwork(nn.Module):
    """Logits ``(B, outputs)`` of images and records, which are put together after each had its branch."""

    def __init__(self, encoder: nn.Module, records: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.records, self.head = encoder, records, head

    def forward(self, image: torch.Tensor, covariates: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        logits: torch.Tensor = self.head(torch.cat((self.encoder(image), self.records(covariates)), dim=1))
        return logits


class _Tokens(nn.Module):
    """A vision transformer whose answer is the mean of its tokens: no hidden states, no class token of its own."""

    def __init__(self, transformer: nn.Module, features: nn.Module) -> None:
        super().__init__()
        self.transformer, self.features = transformer, features

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        tokens, _ = self.transformer(image)
        features: torch.Tensor = self.features(tokens.mean(dim=1))
        return features


def build_outcome_network(task: OutcomeTask) -> nn.Module:
    """The task's network; its inputs are ``image`` and ``covariates``, as far as the task has them, in this order.

    Weights come from torch's generator. Without anything hidden it is a regression, which begins at zero.

    Raises:
        InvalidInputError: the image is too small for the encoder.
    """
    plan = task.network
    encoder = None if task.image is None or plan.encoder is None else _encoder(task.image, plan)
    records = None if not task.covariates else _layers(task.width, plan.hidden, plan.dropout)
    width = (plan.features if encoder is not None else 0) + (0 if records is None else (task.width, *plan.hidden)[-1])
    head = _head(width, plan, task)
    match encoder, records:
        case nn.Module(), None:
            network: nn.Module = ImageNetwork(encoder, head)
        case None, nn.Module():
            network = RecordNetwork(records, head)
        case nn.Module(), nn.Module():
            network = FusedNetwork(encoder, records, head)
        case _:
            raise AssertionError("a task has an image or a record")
    if task.image is not None:
        _check_size(network, task, task.image)
    return network


def _layers(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers with ReLU and dropout.

    No normalisation: the statistics of a batch of one hospital's records say what no federation should average.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise((width, *hidden)):
        layers += [nn.Linear(before, after), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers)


def _head(width: int, plan: OutcomeNetwork, task: OutcomeTask) -> nn.Sequential:
    head = _layers(width, plan.head, plan.dropout)
    # A constant cancels out of Cox's likelihood: nothing would hold it in its place.
    last = nn.Linear((width, *plan.head)[-1], task.outputs, bias=not isinstance(task.outcome, Survival))
    if plan.encoder is None and not plan.hidden and not plan.head:
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)
    return head.append(last)


def _encoder(image: ImageInput, plan: OutcomeNetwork) -> nn.Sequential:
    network: nn.Module
    channels, dimensions = len(image.channels), image.dimensions
    match plan.encoder:
        case DenseNetEncoder(args=args):
            given: dict[str, Any] = args.model_dump() | {"norm": _NORMS[args.norm]}
            network = DenseNet(dimensions, channels, plan.features, **given)
        case ResNetEncoder(args=args):
            given = args.model_dump(exclude={"norm"})
            network = ResNet(spatial_dims=dimensions, n_input_channels=channels, num_classes=plan.features, **given)
            if args.norm == "instance":
                _norm_by_case(network, dimensions)
        case EfficientNetEncoder(args=args):
            network = EfficientNetBN(
                f"efficientnet-{args.variant}",
                pretrained=False,
                spatial_dims=dimensions,
                in_channels=channels,
                num_classes=plan.features,
                norm=_EFFICIENTNET_NORMS[args.norm],
            )
        case ViTEncoder(args=args):
            transformer = ViT(
                channels, image.size, spatial_dims=dimensions, dropout_rate=plan.dropout, **args.model_dump()
            )
            network = _Tokens(transformer, nn.Linear(args.hidden_size, plan.features))
        case None:
            raise AssertionError("a task with an image has an encoder")
    return nn.Sequential(network, nn.ReLU(), *([nn.Dropout(plan.dropout)] if plan.dropout else []))


def _norm_by_case(network: nn.Module, dimensions: int) -> None:
    """Instance norm in the place of every batch norm: MONAI's ResNet hands its ``norm`` to the first layer alone."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            instance = (nn.InstanceNorm2d if dimensions == 2 else nn.InstanceNorm3d)(module.num_features, affine=True)
            network.set_submodule(name, instance)


def _check_size(network: nn.Module, task: OutcomeTask, image: ImageInput) -> None:
    """Run two cases without computing anything: deep encoders halve an image until nothing is left of it."""
    shapes = [(2, len(image.channels), *image.size), *([(2, task.width)] if task.covariates else [])]
    inputs = tuple(torch.empty(shape, device="meta") for shape in shapes)
    tensors = {name: tensor.to("meta") for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    try:
        torch.func.functional_call(network, tensors, inputs)
    except (RuntimeError, ValueError) as error:
        encoder = task.network.encoder
        raise InvalidInputError(
            f"image.size {image.size} does not fit the encoder {encoder.name if encoder else ''} "
            f"({str(error).splitlines()[0][:160]}); choose a larger size, or another encoder"
        ) from error
