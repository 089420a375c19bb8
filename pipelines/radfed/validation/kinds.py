"""Scores and reports of any kind of task, for those who need not know which."""

from dataclasses import dataclass
from pathlib import Path

from radfed.metrics.intervals import Bootstrap
from radfed.validation.comparison import dump_comparison
from radfed.validation.outcome.comparison import dump_outcome_comparison
from radfed.validation.outcome.report import (
    OutcomeReportInput,
    travelling_outcome_comparison,
    write_outcome_report,
)
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.summary import OutcomeSummary, summarise_outcomes
from radfed.validation.outcome.wording import headline as outcome_headline
from radfed.validation.report import ReportInput, travelling_comparison, write_report
from radfed.validation.results import Evaluation
from radfed.validation.summary import Summary, summarise

AnyEvaluation = Evaluation | OutcomeEvaluation
"""What a model scored case by case: masks, or answers."""
AnySummary = Summary | OutcomeSummary
AnyReportInput = ReportInput | OutcomeReportInput


@dataclass(frozen=True)
class Headline:
    """What stands for a model on all cases.

    Attributes:
        name: ``mean Dice``, ``AUROC`` or ``concordance``.
        value: None where no case has one.
        low: of its 95 % interval; None where there is none.
        high: the same.
        beside: other numbers by name, such as accuracy and Brier score.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    beside: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        first = f"no {self.name}" if self.value is None else f"{self.name} {self.value:.3f}"
        return ", ".join([first, *(f"{name} {value:.3f}" for name, value in self.beside)])


def summarise_any(evaluation: AnyEvaluation, how: Bootstrap | None = None) -> AnySummary:
    """Summarise an evaluation per site and pooled."""
    match evaluation:
        case Evaluation():
            return summarise(evaluation, how)
        case OutcomeEvaluation():
            return summarise_outcomes(evaluation, how)


def headline_of(summary: AnySummary) -> Headline:
    """The numbers for tables and consoles; all with their intervals are in the report."""
    match summary:
        case Summary():
            dice = summary.pooled.mean.dice
            return Headline("mean Dice", dice.mean, dice.low, dice.high) if dice else Headline("mean Dice")
        case OutcomeSummary():
            (name, found), pooled = outcome_headline(summary), summary.pooled
            others = (("accuracy", pooled.accuracy), ("Brier score", pooled.brier))
            beside = tuple((other, value.value) for other, value in others if value is not None)
            if found is None:
                return Headline(name, beside=beside)
            return Headline(name, found.value, found.low, found.high, beside)


def write_any_report(given: AnyReportInput, out: Path, pictures: bool = True, cases: bool = False) -> None:
    """Write ``report.html`` and ``metrics.json``; see ``write_report``."""
    match given:
        case ReportInput():
            write_report(given, out, pictures, cases)
        case OutcomeReportInput():
            write_outcome_report(given, out, pictures, cases)


def dump_travelling_comparison(given: AnyReportInput, path: Path) -> None:
    """Write the comparison with other models as it may travel: groups only, no site that is too small."""
    match given:
        case ReportInput():
            dump_comparison(travelling_comparison(given), path)
        case OutcomeReportInput():
            dump_outcome_comparison(travelling_outcome_comparison(given), path)
