"""What a run's ledger says about training: who took part, how the model learned, where time went."""

from collections.abc import Sequence
from dataclasses import dataclass

from radfed.ledger import FinalLine, Line, SiteLine, answers_of, rounds_of

Curve = tuple[tuple[int, float], ...]
"""Pairs of round and value."""


@dataclass(frozen=True)
class SiteHistory:
    """One site over all rounds. Times are seconds; ``metric`` scores the global model of a round at this site."""

    site: str
    asked: int
    answered: int
    accepted: int
    reasons: tuple[str, ...]
    training_cases: float | None
    metric: Curve
    loss: Curve
    train_seconds: float
    evaluation_seconds: float
    other_seconds: float
    sent_bytes: int


@dataclass(frozen=True)
class History:
    """A run. ``metric`` is the validation score of each round's global model over the cases of all sites."""

    rounds: int
    final: FinalLine | None
    metric: Curve
    sites: tuple[SiteHistory, ...]

    @property
    def best_round(self) -> int | None:
        """The round whose model was released, if the run came to its end."""
        return self.final.best_round if self.final else None


def history_of(lines: Sequence[Line]) -> History | None:
    """Read a ledger's lines; None where no site was asked anything."""
    of_sites = answers_of(lines)
    if not of_sites:
        return None
    of_rounds = rounds_of(lines)
    rounds = max(line.round for line in of_rounds or of_sites)
    return History(
        rounds=rounds,
        final=next((line for line in reversed(lines) if isinstance(line, FinalLine)), None),
        metric=tuple((line.round, line.metric) for line in of_rounds if line.metric is not None),
        sites=tuple(
            _site(name, [line for line in of_sites if line.site == name])
            for name in sorted({line.site for line in of_sites})
        ),
    )


def _site(name: str, lines: list[SiteLine]) -> SiteHistory:
    train = sum(line.train_seconds or 0.0 for line in lines)
    evaluation = sum(line.evaluation_seconds or 0.0 for line in lines)
    whole = sum(line.seconds or 0.0 for line in lines)
    weights = [line.weight for line in lines if line.weight is not None]
    return SiteHistory(
        site=name,
        asked=sum(line.asked for line in lines),
        answered=sum(line.answered for line in lines),
        accepted=sum(line.accepted for line in lines),
        reasons=tuple(sorted({line.reason for line in lines if line.reason})),
        training_cases=weights[-1] if weights else None,
        # A site scores the model that it received, the aggregate of the round before.
        metric=tuple((line.round - 1, line.metric) for line in lines if line.metric is not None),
        loss=tuple((line.round, line.loss) for line in lines if line.loss is not None),
        train_seconds=train,
        evaluation_seconds=evaluation,
        other_seconds=max(0.0, whole - train - evaluation),
        sent_bytes=sum(line.bytes for line in lines),
    )
