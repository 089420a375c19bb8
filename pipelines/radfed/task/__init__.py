"""The contracts of tasks."""

from pathlib import Path
from typing import Annotated

from pydantic import Discriminator, Tag

from radfed.task.base import DEFAULT_KIND, TaskSpec
from radfed.task.encoders import DenseNetEncoder, EfficientNetEncoder, Encoder, ResNetEncoder, ViTEncoder
from radfed.task.inputs import (
    Channel,
    Code,
    Fraction,
    Identifier,
    Intensity,
    Limits,
    NonNegativeFloat,
    PercentileClip,
    PositiveFloat,
    PositiveInt,
    SeriesRule,
    Window,
    ZScore,
)
from radfed.task.measure import Measure
from radfed.task.networks import (
    DynUNetArgs,
    DynUNetNetwork,
    Network,
    SegResNetArgs,
    SegResNetNetwork,
    SwinUNETRArgs,
    SwinUNETRNetwork,
    UNetArgs,
    UNetNetwork,
)
from radfed.task.outcome import (
    CategoricalCovariate,
    Covariate,
    ImageInput,
    MultiClass,
    MultiLabel,
    NumericCovariate,
    OperatingPoint,
    Outcome,
    OutcomeNetwork,
    OutcomeTask,
    Survival,
)
from radfed.task.segmentation import Label, Postprocessing, SegmentationTask


def _family(content: object) -> str:
    """Which contract a value of unknown kind is checked against."""
    kind = content.get("kind", DEFAULT_KIND) if isinstance(content, dict) else getattr(content, "kind", DEFAULT_KIND)
    return "outcome" if kind in OutcomeTask.kinds() else "segmentation"


AnyTask = Annotated[
    Annotated[SegmentationTask, Tag("segmentation")] | Annotated[OutcomeTask, Tag("outcome")], Discriminator(_family)
]
"""A field of a settings model that holds a contract of any kind."""


def read_task(path: Path) -> SegmentationTask | OutcomeTask:
    """Read a contract of any kind.

    Raises:
        InvalidInputError: the file cannot be read, or a key or value is not allowed.
    """
    task = TaskSpec.read(path)
    assert isinstance(task, SegmentationTask | OutcomeTask)  # there are no others
    return task


__all__ = [
    "AnyTask",
    "CategoricalCovariate",
    "Channel",
    "Code",
    "Covariate",
    "DenseNetEncoder",
    "DynUNetArgs",
    "DynUNetNetwork",
    "EfficientNetEncoder",
    "Encoder",
    "Fraction",
    "Identifier",
    "ImageInput",
    "Intensity",
    "Label",
    "Limits",
    "Measure",
    "MultiClass",
    "MultiLabel",
    "Network",
    "NonNegativeFloat",
    "NumericCovariate",
    "OperatingPoint",
    "Outcome",
    "OutcomeNetwork",
    "OutcomeTask",
    "PercentileClip",
    "PositiveFloat",
    "PositiveInt",
    "Postprocessing",
    "ResNetEncoder",
    "SegResNetArgs",
    "SegResNetNetwork",
    "SegmentationTask",
    "SeriesRule",
    "Survival",
    "SwinUNETRArgs",
    "SwinUNETRNetwork",
    "TaskSpec",
    "UNetArgs",
    "UNetNetwork",
    "ViTEncoder",
    "Window",
    "ZScore",
    "read_task",
]
