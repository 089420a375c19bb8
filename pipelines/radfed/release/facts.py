"""What a run's ledger says about how the model came to be, for the model card and the training history."""

from collections.abc import Sequence

from pydantic import Field

from radfed.ledger import FinalLine, Line, Outcome, RoundLine, SiteLine, answers_of, rounds_of
from radfed.settings import Settings


class SiteFacts(Settings):
    """One site's part."""

    site: str
    cases: int = Field(description="Training cases; 0 if the site never said")
    rounds: int = Field(description="Rounds in which its update was accepted")


class RoundFacts(Settings):
    """One round."""

    round: int
    accepted: int = Field(description="Updates in the aggregate")
    loss: float | None = Field(description="Mean training loss over the accepted sites, weighted by cases")
    metric: float | None = Field(
        description="Validation of the round's aggregate: mean Dice, 1 less the mean Brier score, or concordance"
    )
    metric_cases: int


class TrainingFacts(Settings):
    """The training in numbers."""

    outcome: Outcome
    sites: tuple[SiteFacts, ...]
    rounds: tuple[RoundFacts, ...]
    best_round: int | None
    best_metric: float | None
    missing: tuple[str, ...]
    cases_lost: float

    @property
    def cases(self) -> int:
        """Training cases of all sites whose updates are in the model."""
        return sum(site.cases for site in self.sites if site.rounds)

    @property
    def metric_cases(self) -> int:
        """Validation cases behind ``best_metric``."""
        return next((line.metric_cases for line in self.rounds if line.round == self.best_round), 0)


def training_facts(lines: Sequence[Line], final: FinalLine) -> TrainingFacts:
    """Read the facts off a ledger and its last line."""
    by_site: dict[str, list[SiteLine]] = {}
    for line in answers_of(lines):
        by_site.setdefault(line.site, []).append(line)
    return TrainingFacts(
        outcome=final.outcome,
        sites=tuple(_site(name, by_site[name]) for name in sorted(by_site)),
        rounds=tuple(_round(line, by_site) for line in rounds_of(lines)),
        best_round=final.best_round,
        best_metric=final.best_metric,
        missing=final.missing,
        cases_lost=final.cases_lost,
    )


def _site(name: str, lines: Sequence[SiteLine]) -> SiteFacts:
    cases = max((int(line.weight) for line in lines if line.weight is not None), default=0)
    return SiteFacts(site=name, cases=cases, rounds=sum(line.accepted for line in lines))


def _round(line: RoundLine, by_site: dict[str, list[SiteLine]]) -> RoundFacts:
    inside = [s for lines in by_site.values() for s in lines if s.round == line.round and s.accepted]
    losses = [(s.loss, s.weight) for s in inside if s.loss is not None and s.weight]
    weight = sum(w for _, w in losses)
    return RoundFacts(
        round=line.round,
        accepted=line.accepted,
        loss=round(sum(loss * w for loss, w in losses) / weight, 6) if weight else None,
        metric=line.metric,
        metric_cases=line.metric_cases,
    )
