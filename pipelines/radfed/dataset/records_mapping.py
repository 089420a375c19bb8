"""How a table's columns become cases of a task: the site's ``mapping.yaml``.

The task says what a covariate is and in which unit; the mapping says where this hospital keeps it and in which unit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from radfed.dataset.splits import SplitName
from radfed.dataset.tables import MISSING
from radfed.errors import InvalidInputError
from radfed.settings import Settings


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"YAML reads this as {value}; put quotes around the word")
    return value


def _text(value: object) -> object:
    """YAML reads 0 as a number and no as a truth value; a table's fields are text."""
    value = _no_truth(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else value


Text = Annotated[str, BeforeValidator(_text)]
Value = Annotated[float | str, BeforeValidator(_no_truth)]
Attribute = Literal["PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
Column = Annotated[str, Field(min_length=1, description="Name of a column")]


class Within(Settings):
    """Takes a value only if another column of the row lies in a range: a laboratory value of about the image's day."""

    column: Column
    lower: float | None = None
    upper: float | None = None


class CovariateColumn(Settings):
    """Where a covariate comes from: ``number * factor + offset``, or the value that the text stands for."""

    column: Column
    unit: str = Field(default="", description="Unit of the table; one that is not the task's needs a factor")
    factor: float = Field(default=1.0, description="From the table's unit to the task's, for example 10 for mg/dL")
    offset: float = Field(default=0.0, description="Added after the factor, for example for degrees")
    values: dict[Text, Value] = Field(
        default={},
        description="What the table's text means, in the task's words or unit; factor and offset are not "
        "applied. Other text of a categorical covariate must be one of the task's values itself",
    )
    missing: tuple[Text, ...] = Field(default=(), description="More texts that mean that there is no value, such as 0")
    within: Within | None = Field(default=None, description="Else the value is as if it were missing")


class ClassColumn(Settings):
    """Which class a row is of: by what the text means, by a threshold, or by whether there is any."""

    column: Column
    values: dict[Text, str] = Field(default={}, description="Text to class; other text must be a class's name itself")
    threshold: float | None = Field(default=None, description="Numbers above it are of the class 'above'")
    above: str | None = Field(default=None, description="Class of the numbers above the threshold")
    up_to: str | None = Field(default=None, description="Class of the numbers up to the threshold")
    present: str | None = Field(default=None, description="Class of the rows in which the column has any text")
    absent: str | None = Field(default=None, description="Class of the rows in which it has none")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        threshold = (self.threshold, self.above, self.up_to)
        presence = (self.present, self.absent)
        ways = [bool(self.values), any(x is not None for x in threshold), any(x is not None for x in presence)]
        if sum(ways) > 1:
            raise ValueError("give values, or threshold with above and up_to, or present and absent; got more than one")
        if (ways[1] and None in threshold) or (ways[2] and None in presence):
            raise ValueError("threshold, above and up_to go together, and so do present and absent")
        return self

    @property
    def classes(self) -> set[str]:
        """The classes that it names."""
        named = (*self.values.values(), self.above, self.up_to, self.present, self.absent)
        return {name for name in named if name is not None}


class FindingColumn(Settings):
    """Whether something is there: a finding, or the event of a survival time."""

    column: Column
    positive: tuple[Text, ...] = Field(default=("1", "true", "yes"), description="Texts that mean that it is there")
    negative: tuple[Text, ...] = Field(default=("0", "false", "no"), description="Texts that mean that it is not")
    missing_is_negative: bool = Field(default=False, description="Whether no text means that it is not there")
    present: bool = Field(default=False, description="Any text means that it is there, none that it is not")


class TimeColumn(Settings):
    """How long somebody was watched: ``number * factor``."""

    column: Column
    factor: Annotated[float, Field(gt=0)] = Field(default=1.0, description="To the unit of the task's outcome")


class FileColumn(Settings):
    """Which file belongs to a row."""

    column: Column
    pattern: str = Field(default="{}", description="Path relative to SOURCE; {} is the column's text")

    @model_validator(mode="after")
    def _has_place(self) -> Self:
        if self.pattern.count("{}") != 1:
            raise ValueError(f"pattern must hold {{}} once, got {self.pattern!r}")
        return self


class ImageColumn(FileColumn):
    """Which image belongs to a row: a file, or a DICOM series wherever its files lie."""

    attribute: Attribute | None = Field(
        default=None, description="The column holds this attribute of DICOM headers, and no file name"
    )


class LabelColumn(FileColumn):
    """Which mask belongs to a row."""

    values: dict[int, int] = Field(
        default={}, description="What the file's values mean as the task's; not set: 255 means the only label's value"
    )


class SplitColumn(Settings):
    """Which split a row belongs to, where that was decided before."""

    column: Column
    values: dict[Text, SplitName] = Field(default={}, description="Text to training, validation or test")


class TableMapping(Settings):
    """From a table's rows to cases."""

    case: Column | None = Field(
        default=None, description="Column of the case's id; not set: each row is a case, known by its number"
    )
    patient: Column | None = Field(
        default=None, description="Column of the patient; not set: DICOM's word, else each case is a patient"
    )
    where: dict[str, tuple[Text, ...]] = Field(
        default={}, description="Take only rows in which each of these columns has one of the texts"
    )
    image: ImageColumn | None = None
    label: LabelColumn | None = Field(default=None, description="Of a segmentation task")
    covariates: dict[str, CovariateColumn | None] = Field(
        default={}, description="One for each of the task's; null says that this site does not measure it"
    )
    outcome: ClassColumn | None = Field(default=None, description="Of a task with classes")
    findings: dict[str, FindingColumn] = Field(default={}, description="One for each of the task's findings")
    time: TimeColumn | None = Field(default=None, description="Of a survival task")
    event: FindingColumn | None = Field(default=None, description="Of a survival task")
    modality: Column | None = Field(default=None, description="Column of a DICOM Modality, for images without headers")
    manufacturer: Column | None = Field(default=None, description="Column of the scanner's maker, likewise")
    model: Column | None = Field(default=None, description="Column of the scanner's model, likewise")
    split: SplitColumn | None = Field(default=None, description="Not set: split by patient as site.yaml says")
    missing: tuple[Text, ...] = Field(default=MISSING, description="Texts that mean that there is no value")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Annotated[str, Field(pattern=r"^[.,]$")] = "."
    encoding: str = Field(default="utf-8", description="Of a CSV file, for example latin-1")

    def columns(self) -> dict[str, str]:
        """Every column that must be there, and what asks for it."""
        found: dict[str, str] = {}

        def ask(column: str | None, why: str) -> None:
            if column is not None:
                found.setdefault(column, why)

        for key in ("case", "patient", "modality", "manufacturer", "model"):
            ask(getattr(self, key), key)
        for column in self.where:
            ask(column, "where")
        for name, covariate in self.covariates.items():
            if covariate is not None:
                ask(covariate.column, f"covariates.{name}")
                ask(covariate.within.column if covariate.within else None, f"covariates.{name}.within")
        for name, finding in self.findings.items():
            ask(finding.column, f"findings.{name}")
        single = {
            "image": self.image, "label": self.label, "outcome": self.outcome,
            "time": self.time, "event": self.event, "split": self.split,
        }  # fmt: skip
        for name, part in single.items():
            ask(part.column if part is not None else None, name)
        return found


def read_mapping(path: Path, where: Sequence[str] = ()) -> TableMapping:
    """Read a mapping, and narrow it to some rows.

    Args:
        path: mapping.yaml.
        where: ``COLUMN=VALUE``; what is said of a column takes the place of the file's word on it.

    Raises:
        InvalidInputError: a key or value is not allowed, or one of ``where`` is no pair.
    """
    mapping = TableMapping.read(path)
    asked: dict[str, tuple[str, ...]] = {}
    for pair in where:
        column, equals, value = pair.partition("=")
        if not column or not equals:
            raise InvalidInputError(f"--where {pair!r}: must be COLUMN=VALUE")
        asked[column] = (*asked.get(column, ()), value)
    return mapping.model_copy(update={"where": {**mapping.where, **asked}})
