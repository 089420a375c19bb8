"""Image encoders that an outcome task may choose: MONAI's classification networks, with the arguments it may set."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from radfed.settings import Settings
from radfed.task.inputs import PositiveInt


class DenseNetArgs(Settings):
    """Arguments of ``monai.networks.nets.DenseNet`` that a task may set; the defaults are those of DenseNet121."""

    init_features: PositiveInt = 64
    growth_rate: PositiveInt = 32
    block_config: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=6)] = (6, 12, 24, 16)
    norm: Literal["batch", "instance"] = "batch"


class DenseNetEncoder(Settings):
    """DenseNet (Huang et al. 2017)."""

    name: Literal["DenseNet"] = "DenseNet"
    args: DenseNetArgs = DenseNetArgs()


class ResNetArgs(Settings):
    """Arguments of ``monai.networks.nets.ResNet`` that a task may set; the defaults are those of ResNet18."""

    block: Literal["basic", "bottleneck"] = "basic"
    layers: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (2, 2, 2, 2)
    block_inplanes: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 512)
    conv1_t_size: Literal[3, 5, 7] = 7
    conv1_t_stride: Literal[1, 2] = 1
    no_max_pool: bool = False
    norm: Literal["batch", "instance"] = "batch"


class ResNetEncoder(Settings):
    """ResNet (He et al. 2016)."""

    name: Literal["ResNet"] = "ResNet"
    args: ResNetArgs = ResNetArgs()


class EfficientNetArgs(Settings):
    """Arguments of ``monai.networks.nets.EfficientNetBN`` that a task may set."""

    variant: Literal["b0", "b1", "b2", "b3", "b4"] = "b0"
    norm: Literal["batch", "instance"] = "batch"


class EfficientNetEncoder(Settings):
    """EfficientNet (Tan and Le 2019)."""

    name: Literal["EfficientNet"] = "EfficientNet"
    args: EfficientNetArgs = EfficientNetArgs()


class ViTArgs(Settings):
    """Arguments of ``monai.networks.nets.ViT`` that a task may set."""

    patch_size: PositiveInt = 16
    hidden_size: PositiveInt = 192
    mlp_dim: PositiveInt = 768
    num_layers: Annotated[int, Field(ge=1, le=24)] = 6
    num_heads: PositiveInt = 3

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size must be a multiple of num_heads, got {self.hidden_size} and {self.num_heads}"
            )
        return self


class ViTEncoder(Settings):
    """Vision transformer (Dosovitskiy et al. 2021)."""

    name: Literal["ViT"] = "ViT"
    args: ViTArgs = ViTArgs()


Encoder = Annotated[
    DenseNetEncoder | ResNetEncoder | EfficientNetEncoder | ViTEncoder,
    Field(discriminator="name"),
]
