"""What a task's contract says of its input images: channels, intensities, and what a plausible one looks like."""

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


class Limits(Settings):
    """What a plausible case of this task looks like, on the scanner's own grid."""

    min_size_mm: Triple = Field(default=(1.0, 1.0, 1.0), description="Least extent along R, A, S (mm)")
    max_size_mm: Triple = Field(default=(2000.0, 2000.0, 2500.0), description="Largest extent along R, A, S (mm)")
    min_spacing: PositiveFloat = Field(default=0.05, description="Least voxel spacing (mm)")
    max_spacing: PositiveFloat = Field(default=20.0, description="Largest voxel spacing (mm)")
