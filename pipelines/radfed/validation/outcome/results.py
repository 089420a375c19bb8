"""What a model answered, case by case: the record that summaries, comparisons and reports are made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from radfed.dataset.layout import Outcome
from radfed.files import put_text
from radfed.settings import Settings
from radfed.task import OutcomeTask
from radfed.validation.results import Split, read_as

Kind = Literal["multiclass", "multilabel", "survival"]


class OutcomeCase(Settings):
    """One case under its pseudonyms."""

    site: str
    patient: str
    case: str
    scores: tuple[float, ...] = Field(description="Probabilities in the order of finds; of survival the log hazard")
    truth: Outcome
    seconds: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Time to read and answer")


class OperatingPoints(Settings):
    """From which probability on a question is answered with yes."""

    origin: Literal["release", "validation", "none"] = Field(
        description="Stated by the release, fixed on validation cases of the same sites, or not fixed at all"
    )
    thresholds: dict[str, float] = Field(description="By question; a half where none could be fixed")
    cases: dict[str, int] = Field(default={}, description="Validation cases behind each; 0 where none could be fixed")


class OutcomeEvaluation(Settings):
    """A model's answers to the cases of one or more sites."""

    model: str = Field(default="federated", description="Name of the model: federated, pooled, local-<site>")
    task: str
    task_digest: str
    split: Split
    kind: Kind
    finds: tuple[str, ...]
    operating: OperatingPoints
    cases: tuple[OutcomeCase, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites with a case, by name."""
        return tuple(sorted({case.site for case in self.cases}))

    def at(self, site: str) -> tuple[OutcomeCase, ...]:
        """The cases of one site."""
        return tuple(case for case in self.cases if case.site == site)

    @property
    def questions(self) -> tuple[tuple[str, int], ...]:
        """What is asked with yes or no, with its place in ``scores``; see ``questions_of``."""
        return questions_of(self.kind, self.finds)


class _OutcomeEvaluations(Settings):
    """Several evaluations in one file."""

    evaluations: dict[str, OutcomeEvaluation]


def kind_of(task: OutcomeTask) -> Kind:
    """What the task answers with."""
    return task.outcome.type


def questions_of(kind: Kind, finds: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Name and place of what is asked with yes or no.

    Of two classes the second; of more, each against the others; each finding. Of survival nothing.
    """
    if kind == "survival":
        return ()
    named = tuple((name, place) for place, name in enumerate(finds))
    return named[1:] if kind == "multiclass" and len(finds) == 2 else named


def has_thresholds(kind: Kind, finds: tuple[str, ...]) -> bool:
    """Whether answers follow from thresholds; of more than two classes the likeliest is the answer."""
    return kind == "multilabel" or (kind == "multiclass" and len(finds) == 2)


def dump_outcome_evaluations(evaluations: Mapping[str, OutcomeEvaluation], path: Path) -> None:
    """Write several evaluations, by name of the model, into one file; per case, so not for release."""
    put_text(path, _OutcomeEvaluations(evaluations=dict(evaluations)).model_dump_json(indent=1) + "\n")


def load_outcome_evaluations(path: Path) -> dict[str, OutcomeEvaluation]:
    """Read what ``dump_outcome_evaluations`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or holds no evaluations.
    """
    return read_as(_OutcomeEvaluations, path).evaluations
