"""What a model scored, case by case: the record that summaries, comparisons and reports are made from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError

from radfed.errors import InvalidInputError
from radfed.metrics.policy import Outcome
from radfed.settings import Settings, explain

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Split = Literal["training", "validation", "test", "all"]


class LabelResult(Settings):
    """One label of one case, on the scanner's own grid."""

    label: str
    outcome: Outcome
    dice: Fraction
    hd95: NonNegative | None = Field(description="mm; null where it is undefined")
    nsd: Fraction
    reference_ml: NonNegative
    prediction_ml: NonNegative


class CaseResult(Settings):
    """One case under its pseudonyms."""

    site: str
    patient: str
    case: str
    digest: str = Field(description="SHA-256 of the image, by which two evaluations of a case are paired")
    labels: tuple[LabelResult, ...]
    seconds: NonNegative = Field(default=0.0, description="Time to segment the case")


class Evaluation(Settings):
    """A model's scores on the cases of one or more sites."""

    model: str = Field(default="federated", description="Name of the model: federated, pooled, local-<site>")
    task: str
    task_digest: str
    split: Split
    cases: tuple[CaseResult, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites with a case, by name."""
        return tuple(sorted({case.site for case in self.cases}))

    def at(self, site: str) -> tuple[CaseResult, ...]:
        """The cases of one site."""
        return tuple(case for case in self.cases if case.site == site)


class _Evaluations(Settings):
    """Several evaluations in one file."""

    evaluations: dict[str, Evaluation]


def dump_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON. It holds a row a case under its pseudonym: it is not for release."""
    write_atomically(path, evaluation.model_dump_json(indent=1) + "\n")


def load_evaluation(path: Path) -> Evaluation:
    """Read what ``dump_evaluation`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or is no evaluation.
    """
    try:
        return Evaluation.model_validate_json(_read(path))
    except ValidationError as error:
        raise InvalidInputError(explain(error, Evaluation, path.name)) from error


def dump_evaluations(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Write several evaluations, by name of the model, into one file; per case, so not for release."""
    write_atomically(path, _Evaluations(evaluations=dict(evaluations)).model_dump_json(indent=1) + "\n")


def load_evaluations(path: Path) -> dict[str, Evaluation]:
    """Read what ``dump_evaluations`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or holds no evaluations.
    """
    try:
        return _Evaluations.model_validate_json(_read(path)).evaluations
    except ValidationError as error:
        raise InvalidInputError(explain(error, _Evaluations, path.name)) from error


def check_split(name: str) -> Split:
    """The split of that name.

    Raises:
        InvalidInputError: there is none.
    """
    for split in get_args(Split):
        if split == name:
            chosen: Split = split
            return chosen
    raise InvalidInputError(f"split must be one of {', '.join(get_args(Split))}, got {name!r}")


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text beside ``path`` and rename it there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path.name}: cannot be read as text ({type(error).__name__})") from error
