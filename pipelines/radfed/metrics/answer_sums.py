"""What a site tells of answers: counts that are large enough, areas, and bins of probability in runs of patients."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from radfed.metrics.pooling import MOST_CASES, MOST_PAIRS
from radfed.metrics.sums import MeanSums
from radfed.settings import Settings

GRID = 200
"""Bins of probability begin and end at multiples of 1 / GRID, or at the operating point; never at a case's score."""
Count = Annotated[int, Field(ge=0, le=MOST_CASES)]
Pairs = Annotated[int, Field(ge=0, le=MOST_PAIRS)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Bin(Settings):
    """Cases whose probability lies from ``low`` to below ``high``; positives and negatives each none or enough."""

    low: Fraction
    high: Fraction
    positives: Count
    negatives: Count
    total: float = Field(ge=0, le=MOST_CASES, description="Sum of the probabilities")


class AnswerCounts(Settings):
    """Right and wrong answers at the operating point."""

    true_positives: Count
    false_positives: Count
    true_negatives: Count
    false_negatives: Count


class QuestionSums(Settings):
    """One class against the others, or one finding; what is of too few patients is null or empty."""

    positives: Count | None
    negatives: Count | None
    answers: AnswerCounts | None
    area: Fraction | None = Field(description="AUROC at this site, from its cases' own scores")
    variance: Annotated[float, Field(ge=0, le=1)] | None = Field(description="Of the area, after DeLong")
    bins: tuple[Bin, ...] = Field(max_length=4 * GRID)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.positives is None) != (self.negatives is None):
            raise ValueError("positives and negatives are told together or not at all")
        told = (self.positives, self.negatives)
        if self.bins and told != tuple(sum(getattr(b, name) for b in self.bins) for name in ("positives", "negatives")):
            raise ValueError("the bins must hold all positives and negatives")
        return self


class EventSums(Settings):
    """How well hazards order events within the site; a pair of two sites' patients cannot be compared from afar."""

    events: Count
    concordant: Pairs
    discordant: Pairs
    tied: Pairs


class AnswerSums(Settings):
    """A site's answers beside what became of the patients."""

    thresholds: dict[str, Fraction] = Field(max_length=1000, description="By question; from which on it is a yes")
    right: MeanSums | None = Field(description="Share of right answers of each case")
    brier: MeanSums | None
    questions: dict[str, QuestionSums] = Field(max_length=1000)
    confusion: tuple[tuple[Count, ...], ...] = Field(description="Of classes: truth in rows, answers in columns")
    events: EventSums | None
