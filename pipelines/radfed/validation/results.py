"""What a model scored, case by case: the record that summaries, comparisons and reports are made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import Field, ValidationError

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.metrics.policy import Outcome
from radfed.settings import Settings, explain

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Split = Literal["training", "validation", "test", "all"]
_Model = TypeVar("_Model", bound=Settings)


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
    put_text(path, evaluation.model_dump_json(indent=1) + "\n")


def load_evaluation(path: Path) -> Evaluation:
    """Read what ``dump_evaluation`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or is no evaluation.
    """
    return read_as(Evaluation, path)


def dump_evaluations(evaluations: Mapping[str, Evaluation], path: Path) -> None:
    """Write several evaluations, by name of the model, into one file; per case, so not for release."""
    put_text(path, _Evaluations(evaluations=dict(evaluations)).model_dump_json(indent=1) + "\n")


def load_evaluations(path: Path) -> dict[str, Evaluation]:
    """Read what ``dump_evaluations`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or holds no evaluations.
    """
    return read_as(_Evaluations, path).evaluations


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


def read_as(model: type[_Model], path: Path) -> _Model:
    """Read a JSON file of that content.

    Raises:
        InvalidInputError: it cannot be read, or a key or value is not allowed.
    """
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise InvalidInputError(explain(error, model, path.name)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path.name}: cannot be read as text ({type(error).__name__})") from error
