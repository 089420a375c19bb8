"""TaskSpec: the contract from which preprocessing, training, export, inference and the report are derived.

One YAML file says what goes in, what comes out and how: it travels with the job, inside the ONNX metadata and in
the release, and nothing that it says is written down anywhere else.
"""

import hashlib
import json
import math
import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from radfed.settings import Settings

PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Triple = tuple[PositiveFloat, PositiveFloat, PositiveFloat]
Shape = tuple[PositiveInt, PositiveInt, PositiveInt]
Stride = Annotated[int, Field(ge=1, le=4)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]


class Code(Settings):
    """A coded term, DICOM PS3.16 style."""

    scheme: str = Field(description="Coding scheme designator, for example SCT")
    value: str = Field(description="Code value")
    meaning: str = Field(description="Code meaning, for people")


class SeriesRule(Settings):
    """Which DICOM series of a study is the channel. What is not set, any series fulfils."""

    description: str | None = Field(
        default=None, description="Regular expression, searched in SeriesDescription or ProtocolName, case ignored"
    )
    exclude: str | None = Field(default=None, description="The same for series that must not be taken")
    orientation: Literal["axial", "coronal", "sagittal"] | None = Field(
        default=None, description="Plane of the slices, the closest one for oblique series"
    )
    min_thickness: PositiveFloat | None = Field(default=None, description="Least distance between slices (mm)")
    max_thickness: PositiveFloat | None = Field(default=None, description="Largest distance between slices (mm)")
    min_slices: PositiveInt = Field(default=2, description="Least number of slices")
    prefer: Literal["most_slices", "thinnest", "first", "last"] | None = Field(
        default=None,
        description="Which to take if several fit; first and last are by SeriesNumber. "
        "Not set: a study with several is refused",
    )

    @field_validator("description", "exclude")
    @classmethod
    def _is_expression(cls, text: str | None) -> str | None:
        try:
            re.compile(text or "")
        except re.error as error:
            raise ValueError(f"must be a regular expression: {error}, got {text!r}") from error
        return text

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        least, most = self.min_thickness, self.max_thickness
        if least is not None and most is not None and least > most:
            raise ValueError(f"min_thickness must not be above max_thickness, got {least} and {most}")
        return self


class Channel(Settings):
    """One input image of a case."""

    name: Identifier
    modality: Literal["CT", "MR", "PT", "CR", "DX", "OT"] = Field(
        default="OT", description="DICOM Modality; OT takes any"
    )
    series: SeriesRule = SeriesRule()


class Label(Settings):
    """One structure to find. Background is always 0 and is not listed."""

    value: Annotated[int, Field(ge=1, le=255)] = Field(description="Voxel value in label files and masks")
    name: Identifier
    code: Code | None = Field(default=None, description="Coded term for DICOM SEG and SR")
    aliases: tuple[str, ...] = Field(
        default=(), description="Other names by which SEG and RTSTRUCT call it; case, spaces and dashes are ignored"
    )


class ZScore(Settings):
    """Subtract the mean and divide by the standard deviation, per channel and case."""

    rule: Literal["zscore"] = "zscore"
    nonzero: bool = Field(default=False, description="Take the statistics from voxels above 0 only")


class PercentileClip(Settings):
    """Clip to two percentiles of the case, then z-score: robust to bright vessels and export scales."""

    rule: Literal["percentile"] = "percentile"
    lower: Annotated[float, Field(ge=0, le=100)] = 0.5
    upper: Annotated[float, Field(ge=0, le=100)] = 99.5

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError(f"lower must be below upper, got {self.lower} and {self.upper}")
        return self


class Window(Settings):
    """Clip to a fixed window (HU for CT) and scale it to 0..1."""

    rule: Literal["window"] = "window"
    lower: float
    upper: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError(f"lower must be below upper, got {self.lower} and {self.upper}")
        return self


Intensity = Annotated[ZScore | PercentileClip | Window, Field(discriminator="rule")]


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


class Limits(Settings):
    """What a plausible case of this task looks like, on the scanner's own grid."""

    min_size_mm: Triple = Field(default=(1.0, 1.0, 1.0), description="Least extent along R, A, S (mm)")
    max_size_mm: Triple = Field(default=(2000.0, 2000.0, 2500.0), description="Largest extent along R, A, S (mm)")
    min_spacing: PositiveFloat = Field(default=0.05, description="Least voxel spacing (mm)")
    max_spacing: PositiveFloat = Field(default=20.0, description="Largest voxel spacing (mm)")


class Postprocessing(Settings):
    """What is done to a mask after the network."""

    keep_largest_component: bool = Field(default=False, description="Per label, keep the largest connected part")


class TaskSpec(Settings):
    """A segmentation task: what goes in, what comes out, and everything in between.

    Arrays are ``(C, H, W, D)`` with axes in the order and direction of ``orientation``; lengths are mm.
    """

    name: Identifier
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] = "0.1.0"
    kind: Literal["segmentation"] = "segmentation"
    description: str
    intended_use: str
    limitations: str = "Not a medical device; for research and validation only."
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=8)]
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=64)]
    orientation: Literal["RAS", "LPS", "LAS", "RPS"] = Field(
        default="RAS", description="Axis directions in which the network sees a volume"
    )
    spacing: Triple = Field(description="Voxel spacing in which the network sees a volume (mm)")
    intensity: Intensity = ZScore()
    roi_size: Shape = Field(description="Patch for training and window for inference (voxels)")
    overlap: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.5, description="Overlap of inference windows")
    network: Network
    loss: Literal["dice_ce", "dice_focal"] = "dice_ce"
    metrics: Annotated[tuple[Literal["dice", "hd95", "nsd"], ...], Field(min_length=1)] = ("dice", "hd95", "nsd")
    nsd_tolerance: PositiveFloat = Field(default=1.0, description="Surface distance that NSD forgives (mm)")
    postprocessing: Postprocessing = Postprocessing()
    limits: Limits = Limits()

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[Label, ...]) -> tuple[Label, ...]:
        for attribute in ("value", "name"):
            seen = [getattr(label, attribute) for label in labels]
            twice = sorted({str(item) for item in seen if seen.count(item) > 1})
            if twice:
                raise ValueError(f"each label's {attribute} must be there once, got twice: {', '.join(twice)}")
        return labels

    @field_validator("channels")
    @classmethod
    def _channels_differ(cls, channels: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [channel.name for channel in channels]
        if len(set(names)) != len(names):
            raise ValueError(f"each channel's name must be there once, got {', '.join(names)}")
        return channels

    @model_validator(mode="after")
    def _roi_fits_network(self) -> Self:
        stride = self.network.total_stride
        if any(side % stride for side in self.roi_size):
            raise ValueError(
                f"roi_size must be a multiple of the network's total stride {stride} on every axis, got {self.roi_size}"
            )
        if math.prod(self.roi_size) == stride**3:
            # Instance normalisation has nothing to normalise over a single voxel.
            raise ValueError(
                f"roi_size must be larger than the network's total stride {stride} on at least one axis, "
                f"got {self.roi_size}"
            )
        return self

    @property
    def label_values(self) -> tuple[int, ...]:
        """The values that a label file may hold besides 0; network output channel ``i + 1`` means entry ``i``."""
        return tuple(label.value for label in self.labels)

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the contract."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
