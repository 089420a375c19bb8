"""The contract of a segmentation task."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from radfed.settings import Settings
from radfed.task.base import TaskSpec
from radfed.task.inputs import (
    Channel,
    Code,
    Identifier,
    Intensity,
    Limits,
    PositiveFloat,
    Shape,
    Triple,
    ZScore,
)
from radfed.task.measure import Measure
from radfed.task.networks import Network


class Label(Settings):
    """One structure to find. Background is always 0 and is not listed."""

    value: Annotated[int, Field(ge=1, le=255)] = Field(description="Voxel value in label files and masks")
    name: Identifier
    code: Code | None = Field(default=None, description="Coded term for DICOM SEG and SR")
    aliases: tuple[str, ...] = Field(
        default=(), description="Other names by which SEG and RTSTRUCT call it; case, spaces and dashes are ignored"
    )


class Postprocessing(Settings):
    """What is done to a mask after the network."""

    keep_largest_component: bool = Field(default=False, description="Per label, keep the largest connected part")


class SegmentationTask(TaskSpec):
    """A segmentation task: what goes in, what comes out, and everything in between.

    Arrays are ``(C, H, W, D)`` with axes in the order and direction of ``orientation``; lengths are mm. A task of 2
    dimensions treats every plane ``(C, H, W)`` of the last axis as if it were alone: intensities, network and mask.
    """

    kind: Literal["segmentation"] = "segmentation"
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=8)]
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=64)]
    dimensions: Literal[2, 3] = Field(
        default=3, description="2: a volume is segmented plane by plane along the last axis of the orientation"
    )
    orientation: Literal["RAS", "LPS", "LAS", "RPS"] = Field(
        default="RAS", description="Axis directions in which the network sees a volume"
    )
    spacing: Triple = Field(
        description="Voxel spacing in which the network sees a volume (mm); in 2 dimensions planes keep their "
        "distance, and the third is that of made-up scans only"
    )
    intensity: Intensity = ZScore()
    roi_size: Shape = Field(
        description="Patch for training and window for inference (voxels); in 2 dimensions the third is 1"
    )
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
        stride, planes = self.network.total_stride, self.dimensions == 2
        if planes and self.roi_size[2] != 1:
            raise ValueError(f"the third of roi_size must be 1 in 2 dimensions, got {self.roi_size}")
        which = "of its first two axes" if planes else "axis"
        if any(side % stride for side in self.window):
            raise ValueError(
                f"roi_size must be a multiple of the network's total stride {stride} on every {which}, "
                f"got {self.roi_size}"
            )
        if math.prod(self.window) == stride**self.dimensions:
            # Instance normalisation has nothing to normalise over a single voxel.
            raise ValueError(
                f"roi_size must be larger than the network's total stride {stride} on at least one {which}, "
                f"got {self.roi_size}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before_planes(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the default of ``dimensions`` out: contracts of volumes keep the digest that they always had."""
        content: dict[str, Any] = write(self)
        if content.get("dimensions") == 3:
            del content["dimensions"]
        return content

    @property
    def window(self) -> tuple[int, ...]:
        """What the network sees at once, without batch and channels: ``(H, W, D)``, or ``(H, W)`` in 2 dimensions."""
        return self.roi_size[: self.dimensions]

    @property
    def label_values(self) -> tuple[int, ...]:
        """The values that a label file may hold besides 0; network output channel ``i + 1`` means entry ``i``."""
        return tuple(label.value for label in self.labels)

    @property
    def finds(self) -> tuple[str, ...]:
        """Names of the labels."""
        return tuple(label.name for label in self.labels)

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the labels: each has a Dice of its own."""
        return self.finds

    @property
    def measure(self) -> Measure:
        """Dice, over labels, then over cases."""
        return Measure.DICE

    @property
    def outputs(self) -> int:
        """Channels of the network's logits: background and the labels."""
        return len(self.labels) + 1
