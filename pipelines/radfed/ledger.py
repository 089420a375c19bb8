"""The ledger: one line a site and round, one line a round, one line at the end; a run's outcome is read from it.

FLARE's own status can say COMPLETED with nothing aggregated, so no status is believed: a run is what its ledger shows.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from radfed.settings import Settings

Outcome = Literal["COMPLETED", "DEGRADED", "FAILED"]


class SiteLine(Settings):
    """What one site did in one round. ``metric`` scores the model that the site received, before it trained."""

    event: Literal["site"] = "site"
    round: int
    site: str
    asked: bool = True
    answered: bool = False
    accepted: bool = False
    reason: str | None = Field(default=None, description="Why an answer was not accepted: a code")
    weight: float | None = Field(default=None, description="Training cases")
    digest: str | None = Field(default=None, description="SHA-256 of the update")
    bytes: int = Field(default=0, description="Size of the update's tensors")
    seconds: float | None = Field(default=None, description="From asking to answer")
    train_seconds: float | None = None
    evaluation_seconds: float | None = None
    loss: float | None = None
    metric: float | None = Field(default=None, description="Mean validation Dice of the model received")
    metric_cases: int | None = None


class RoundLine(Settings):
    """What a round led to. ``metric`` scores this round's aggregate, over the validation cases of all sites."""

    event: Literal["round"] = "round"
    round: int
    digest: str = Field(description="SHA-256 of the aggregate")
    accepted: int
    metric: float | None
    metric_cases: int
    seconds: float


class FinalLine(Settings):
    """How the run ended, and which model it leaves."""

    event: Literal["final"] = "final"
    outcome: Outcome
    best_round: int | None = None
    best_metric: float | None = None
    digest: str | None = Field(default=None, description="SHA-256 of the best model")
    missing: tuple[str, ...] = Field(default=(), description="Sites that missed a round, worst first")
    cases_lost: float = Field(default=0.0, description="Share of case-rounds that are missing from the model")


Line = SiteLine | RoundLine | FinalLine


class Ledger:
    """An append-only file of lines; each is on disk before the run goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines: list[Line] = []

    def append(self, line: Line) -> None:
        """Write a line and force it to disk."""
        self.lines.append(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_ledger(path: Path) -> list[Line]:
    """The lines of a ledger; a line cut short by a crash ends it."""
    kinds: Mapping[str, type[Line]] = {"site": SiteLine, "round": RoundLine, "final": FinalLine}
    lines: list[Line] = []
    if not path.is_file():
        return lines
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            content = json.loads(text)
        except json.JSONDecodeError:
            break
        lines.append(kinds[content["event"]].check(content, path.name))
    return lines


def conclude(lines: Sequence[Line], sites: Iterable[str], rounds: int) -> FinalLine:
    """Decide the outcome from the ledger alone.

    COMPLETED only if every site was accepted in every round; DEGRADED if every round has an aggregate but a site is
    missing from one; else FAILED. The best model is the aggregate with the highest validation metric, the last round
    included; without any metric it is the last aggregate.

    Args:
        lines: the ledger so far.
        sites: every site that the job requires.
        rounds: how many rounds the job asked for.
    """
    accepted = {(line.round, line.site): line for line in lines if isinstance(line, SiteLine) and line.accepted}
    aggregates = [line for line in lines if isinstance(line, RoundLine)]
    required = sorted(sites)
    missed = {site: sum((number, site) not in accepted for number in range(1, rounds + 1)) for site in required}
    missing = tuple(sorted((s for s in required if missed[s]), key=lambda s: (-missed[s], s)))
    whole = {line.round for line in aggregates} == set(range(1, rounds + 1))
    outcome: Outcome = "FAILED" if not whole else ("DEGRADED" if missing else "COMPLETED")
    best = max(aggregates, key=_rank, default=None)
    return FinalLine(
        outcome=outcome,
        best_round=best.round if best else None,
        best_metric=best.metric if best else None,
        digest=best.digest if best else None,
        missing=missing,
        cases_lost=_cases_lost(accepted, required, missed, rounds),
    )


def _rank(line: RoundLine) -> tuple[float, int]:
    """Higher metric first; among equals, and where nothing was measured, the later round."""
    return (line.metric if line.metric is not None else -1.0, line.round)


def _cases_lost(
    accepted: Mapping[tuple[int, str], SiteLine], required: Sequence[str], missed: Mapping[str, int], rounds: int
) -> float:
    """Share of case-rounds lost. A site that never answered counts as large as the mean of the others."""
    cases = {site: line.weight or 0.0 for (_, site), line in accepted.items()}
    if not cases:
        return 1.0 if required else 0.0
    usual = sum(cases.values()) / len(cases)
    total = sum(cases.get(site, usual) for site in required) * rounds
    lost = sum(cases.get(site, usual) * missed[site] for site in required)
    return round(lost / total, 4) if total else 0.0
