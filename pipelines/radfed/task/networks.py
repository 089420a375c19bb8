"""Networks that a segmentation task may choose, with the arguments that it may set."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from radfed.settings import Settings
from radfed.task.inputs import PositiveInt, Stride


class UNetArgs(Settings):
    """Arguments of ``monai.networks.nets.UNet`` that a task may set."""

    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=8)] = (16, 32, 64, 128)
    strides: Annotated[tuple[Stride, ...], Field(min_length=1, max_length=7)] = (2, 2, 2)
    kernel_size: Literal[3, 5] = 3
    up_kernel_size: Literal[3, 5] = 3
    num_res_units: Annotated[int, Field(ge=0, le=8)] = 1
    norm: Literal["instance", "batch"] = "instance"
    act: Literal["prelu", "relu", "leakyrelu"] = "prelu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.strides) != len(self.channels) - 1:
            raise ValueError(
                f"strides must have one entry less than channels, got {len(self.strides)} and {len(self.channels)}"
            )
        return self


class SegResNetArgs(Settings):
    """Arguments of ``monai.networks.nets.SegResNet`` that a task may set."""

    init_filters: Annotated[int, Field(ge=8, multiple_of=8)] = 8
    blocks_down: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=6)] = (1, 2, 2, 4)
    blocks_up: Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=5)] = (1, 1, 1)
    dropout_prob: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if len(self.blocks_up) != len(self.blocks_down) - 1:
            raise ValueError(
                "blocks_up must have one entry less than blocks_down, "
                f"got {len(self.blocks_up)} and {len(self.blocks_down)}"
            )
        return self


class DynUNetArgs(Settings):
    """Arguments of ``monai.networks.nets.DynUNet`` that a task may set. The first stride must be 1."""

    kernel_size: Annotated[tuple[Literal[1, 3, 5], ...], Field(min_length=3, max_length=7)] = (3, 3, 3, 3)
    strides: Annotated[tuple[Stride, ...], Field(min_length=3, max_length=7)] = (1, 2, 2, 2)
    filters: Annotated[tuple[PositiveInt, ...], Field(min_length=3, max_length=7)] = (8, 16, 32, 64)
    res_block: bool = False

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        if not len(self.kernel_size) == len(self.strides) == len(self.filters):
            raise ValueError(
                "kernel_size, strides and filters must be equally long, "
                f"got {len(self.kernel_size)}, {len(self.strides)} and {len(self.filters)}"
            )
        if self.strides[0] != 1:
            raise ValueError(f"the first stride must be 1, got {self.strides[0]}")
        return self


class SwinUNETRArgs(Settings):
    """Arguments of ``monai.networks.nets.SwinUNETR`` that a task may set."""

    feature_size: Annotated[int, Field(ge=12, multiple_of=12)] = 24
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (2, 2, 2, 2)
    num_heads: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (3, 6, 12, 24)
    window_size: Literal[4, 5, 6, 7, 8] = 7
    use_v2: bool = False


class UNetNetwork(Settings):
    """U-Net with residual units (Kerfoot et al. 2018), MONAI's ``UNet``."""

    name: Literal["UNet"] = "UNet"
    args: UNetArgs = UNetArgs()

    @property
    def total_stride(self) -> int:
        """Every padded axis must be a multiple of this."""
        return math.prod(self.args.strides)


class SegResNetNetwork(Settings):
    """SegResNet (Myronenko 2018, without the autoencoder branch)."""

    name: Literal["SegResNet"] = "SegResNet"
    args: SegResNetArgs = SegResNetArgs()

    @property
    def total_stride(self) -> int:
        """Every padded axis must be a multiple of this."""
        return int(2 ** (len(self.args.blocks_down) - 1))


class DynUNetNetwork(Settings):
    """DynUNet, the network of nnU-Net (Isensee et al. 2021)."""

    name: Literal["DynUNet"] = "DynUNet"
    args: DynUNetArgs = DynUNetArgs()

    @property
    def total_stride(self) -> int:
        """Every padded axis must be a multiple of this."""
        return math.prod(self.args.strides)


class SwinUNETRNetwork(Settings):
    """SwinUNETR (Hatamizadeh et al. 2022). Exported with a fixed ROI: its windows are not shape-polymorphic."""

    name: Literal["SwinUNETR"] = "SwinUNETR"
    args: SwinUNETRArgs = SwinUNETRArgs()

    @property
    def total_stride(self) -> int:
        """Every padded axis must be a multiple of this."""
        return 32


Network = Annotated[UNetNetwork | SegResNetNetwork | DynUNetNetwork | SwinUNETRNetwork, Field(discriminator="name")]
