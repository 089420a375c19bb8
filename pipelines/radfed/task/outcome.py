"""The contract of a task with one answer a case: a class, several findings, or the time to an event.

What goes in decides the kind: images alone are ``classification``, records alone ``tabular``, both ``multimodal``; a
time to an event is ``survival``, whatever goes in. All of them share one contract, one network and one trainer.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from radfed.settings import Settings
from radfed.task.base import TaskSpec
from radfed.task.encoders import Encoder, ViTEncoder
from radfed.task.inputs import Channel, Identifier, Intensity, Limits, PercentileClip, PositiveFloat, PositiveInt
from radfed.task.measure import Measure

Name = Annotated[str, Field(min_length=1, max_length=64)]


class ImageInput(Settings):
    """The image of a case, brought to one size. A plane is a volume of depth 1, in world coordinates as an axial one.

    Arrays are ``(C, W, H)`` for planes (columns, then rows, as in NIfTI) and ``(C, H, W, D)`` for volumes.
    """

    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=8)]
    dimensions: Literal[2, 3] = 2
    size: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=3)] = Field(
        description="What the network sees (pixels or voxels), along the axes of the array"
    )
    fit: Literal["pad", "stretch"] = Field(
        default="pad", description="Whether an image of other proportions is padded or stretched to the size"
    )
    orientation: Literal["RAS", "LPS", "LAS", "RPS"] = Field(
        default="LPS", description="Axis directions in which the network sees the image; LPS shows a plane upright"
    )
    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        description="Voxel spacing (mm) to resample a volume to before it is cropped or padded to the size; "
        "not set: the whole image is resized",
    )
    intensity: Intensity = PercentileClip()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _fits_dimensions(self) -> Self:
        if len(self.size) != self.dimensions:
            raise ValueError(f"size must have {self.dimensions} entries, as dimensions says, got {self.size}")
        if self.dimensions == 2 and self.spacing is not None:
            raise ValueError("spacing is for volumes; a plane is resized to its size")
        return self


class NumericCovariate(Settings):
    """A number from a record. What is missing enters as such: the scaled value is 0 and its indicator 1."""

    type: Literal["numeric"] = "numeric"
    name: Identifier
    description: str = ""
    unit: str = Field(default="", description="UCUM unit in which values must come, for example mg/L")
    lower: float | None = Field(default=None, description="A value below this is refused: a wrong unit, or a mistake")
    upper: float | None = Field(default=None, description="A value above this is refused")
    mean: float = Field(default=0.0, description="Subtracted; over training cases of all sites")
    deviation: PositiveFloat = Field(default=1.0, description="Divided by")
    required: bool = Field(default=False, description="Whether a case without it is refused")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower must be below upper, got {self.lower} and {self.upper}")
        return self

    @property
    def width(self) -> int:
        """Numbers that enter the network."""
        return 2


class CategoricalCovariate(Settings):
    """One of a few values from a record. What is missing is a value of its own."""

    type: Literal["categorical"] = "categorical"
    name: Identifier
    description: str = ""
    values: Annotated[tuple[Name, ...], Field(min_length=2, max_length=64)]
    required: bool = Field(default=False, description="Whether a case without it is refused")

    @field_validator("values")
    @classmethod
    def _differ(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return _all_different(values, "value")

    @property
    def width(self) -> int:
        """Numbers that enter the network."""
        return len(self.values) + 1


Covariate = Annotated[NumericCovariate | CategoricalCovariate, Field(discriminator="type")]


class MultiClass(Settings):
    """Exactly one of several classes. Of two, the second is the positive one."""

    type: Literal["multiclass"] = "multiclass"
    classes: Annotated[tuple[Name, ...], Field(min_length=2, max_length=64)]

    @field_validator("classes")
    @classmethod
    def _differ(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return _all_different(classes, "class")


class MultiLabel(Settings):
    """Any number of findings, each there or not."""

    type: Literal["multilabel"] = "multilabel"
    findings: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]

    @field_validator("findings")
    @classmethod
    def _differ(cls, findings: tuple[str, ...]) -> tuple[str, ...]:
        return _all_different(findings, "finding")


class Survival(Settings):
    """Time to an event, possibly censored (Cox 1972). The network gives a log hazard."""

    type: Literal["survival"] = "survival"
    unit: str = Field(default="days", description="Of the times")


Outcome = Annotated[MultiClass | MultiLabel | Survival, Field(discriminator="type")]


class OperatingPoint(Settings):
    """How the threshold of the positive class, or of each finding, is found on validation cases."""

    rule: Literal["youden", "sensitivity", "specificity"] = "youden"
    value: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.9, description="Least sensitivity or specificity; youden does without"
    )


class OutcomeNetwork(Settings):
    """An image encoder, a branch for the records, and a head on what both give.

    With neither encoder, ``hidden`` nor ``head`` it is a logistic (or Cox) regression.
    """

    name: Literal["OutcomeNetwork"] = "OutcomeNetwork"
    encoder: Encoder | None = Field(default=None, description="MONAI network for the image")
    features: PositiveInt = Field(default=64, description="Numbers that the encoder gives of an image")
    hidden: Annotated[tuple[PositiveInt, ...], Field(max_length=4)] = Field(
        default=(), description="Widths of the layers through which the records go"
    )
    head: Annotated[tuple[PositiveInt, ...], Field(max_length=4)] = Field(
        default=(), description="Widths of the layers after image and records were put together"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class OutcomeTask(TaskSpec):
    """A task with one answer a case."""

    kind: Literal["classification", "multimodal", "tabular", "survival"]
    image: ImageInput | None = None
    covariates: Annotated[tuple[Covariate, ...], Field(max_length=512)] = ()
    outcome: Outcome
    network: OutcomeNetwork
    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="Weight of each class, or of each finding's positive cases, in the loss"
    )
    operating_point: OperatingPoint = OperatingPoint()

    @field_validator("covariates")
    @classmethod
    def _covariates_differ(cls, covariates: tuple[Covariate, ...]) -> tuple[Covariate, ...]:
        _all_different(tuple(covariate.name for covariate in covariates), "covariate")
        return covariates

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        image, records, survival = self.image is not None, bool(self.covariates), isinstance(self.outcome, Survival)
        expected = {(True, False): "classification", (False, True): "tabular", (True, True): "multimodal"}
        kind = "survival" if survival and (image or records) else expected.get((image, records))
        if kind != self.kind:
            raise ValueError(
                f"a task with {'an' if image else 'no'} image, {len(self.covariates)} covariate(s) and the outcome "
                f"{self.outcome.type} is of the kind {kind}, got {self.kind}"
            )
        if image != (self.network.encoder is not None):
            raise ValueError("network.encoder must be there if, and only if, the task has an image")
        if self.class_weights is not None and len(self.class_weights) != self.outputs:
            raise ValueError(f"class_weights must have {self.outputs} entries, got {len(self.class_weights)}")
        return self

    @model_validator(mode="after")
    def _size_fits(self) -> Self:
        encoder = self.network.encoder
        if self.image is not None and isinstance(encoder, ViTEncoder):
            patch = encoder.args.patch_size
            if any(side % patch for side in self.image.size):
                raise ValueError(f"image.size must be a multiple of ViT's patch_size {patch}, got {self.image.size}")
        return self

    @property
    def finds(self) -> tuple[str, ...]:
        """Names of the network's outputs: classes, findings, or ``hazard``."""
        match self.outcome:
            case MultiClass():
                return self.outcome.classes
            case MultiLabel():
                return self.outcome.findings
            case Survival():
                return ("hazard",)

    @property
    def measure(self) -> Measure:
        """1 less the mean Brier score, or the concordance; why not the AUROC is in docs/decisions/0020."""
        return Measure.CONCORDANCE if isinstance(self.outcome, Survival) else Measure.ONE_MINUS_BRIER

    @property
    def outputs(self) -> int:
        """Logits of a case."""
        return len(self.finds)

    @property
    def measured(self) -> tuple[str, ...]:
        """Each a value from 0 to 1 a case: what is right, and 1 less the Brier score; of survival the concordance."""
        return ("concordance",) if isinstance(self.outcome, Survival) else ("accuracy", "brier")

    @property
    def width(self) -> int:
        """Numbers that enter the network of a case's record; 0 without covariates."""
        return sum(covariate.width for covariate in self.covariates)


def _all_different(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"each {what} must be there once, got twice: {', '.join(twice)}")
    return names
