"""The ledger: one line a site and round, one line a round, one line at the end; a run's outcome is read from it.

FLARE's own status can say COMPLETED with nothing aggregated, so no status is believed: a run is what its ledger shows.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from radfed.errors import InvalidInputError
from radfed.settings import Settings
from radfed.task import Measure

Outcome = Literal["COMPLETED", "DEGRADED", "FAILED"]


class PrivacySpent(Settings):
    """What a site's training has cost each of its training patients so far, over all that it has sent.

    With the accountant of Rényi differential privacy (Mironov et al. 2019): whether one patient was among them changes
    the probability of anything that was sent by at most a factor of e^epsilon, but for delta.
    """

    epsilon: float = Field(ge=0, le=1e12)
    delta: float = Field(gt=0, lt=1)
    noise_multiplier: float = Field(gt=0, le=1e6, description="Of the last steps")
    max_grad_norm: float = Field(gt=0, le=1e9, description="Largest L2 norm of what one patient adds to a step")
    sampling_rate: float = Field(gt=0, le=1, description="Probability of each patient to be in a step, of the last")
    steps: int = Field(ge=0, le=10**9, description="Optimiser steps behind all updates")


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
    metric: float | None = Field(
        default=None, description="Of the model received, on the site's validation cases; what it is, the link says"
    )
    metric_cases: int | None = None
    norm: float | None = Field(default=None, description="L2 norm of the update's change to the model")
    restarts: int = Field(default=0, description="How often the site's trainer died and was started again")
    optimiser: Literal["kept", "fresh"] | None = Field(
        default=None, description="Whether the site went on with its own optimiser state of the round before"
    )
    privacy: PrivacySpent | None = Field(default=None, description="With differential privacy: spent so far")


class LinkLine(Settings):
    """One FLARE job of the chain begins. Answers of a round that an earlier link did not finish are void."""

    event: Literal["link"] = "link"
    link: int
    job_id: str = Field(description="FLARE's id of the job")
    sites: tuple[str, ...] = Field(description="Sites that take part in this link")
    required: tuple[str, ...] = Field(description="Sites that every round needs for the outcome COMPLETED")
    first_round: int
    digest: str | None = Field(default=None, description="SHA-256 of the model that the link begins with")
    measure: Measure = Field(default=Measure.SCORE, description="What every metric of the run is")


class NoteLine(Settings):
    """Something that changes no result and that a reader should know: a late answer, a site that joined."""

    event: Literal["note"] = "note"
    reason: str = Field(description="A code")
    site: str | None = None
    round: int | None = None


class RoundLine(Settings):
    """What a round led to. Its aggregate is on the server's disk before this line is."""

    event: Literal["round"] = "round"
    round: int
    digest: str = Field(description="SHA-256 of the aggregate")
    accepted: int
    metric: float | None = Field(default=None, description="From the round's score line; null in the file")
    metric_cases: int = 0
    seconds: float


class ScoreLine(Settings):
    """How good a round's aggregate is, over the validation cases of all sites; known only one task later."""

    event: Literal["score"] = "score"
    round: int
    metric: float | None
    metric_cases: int


class FinalLine(Settings):
    """How the run ended, and which model it leaves."""

    event: Literal["final"] = "final"
    outcome: Outcome
    best_round: int | None = None
    best_metric: float | None = None
    measure: Measure = Field(default=Measure.SCORE, description="What best_metric is")
    digest: str | None = Field(default=None, description="SHA-256 of the best model")
    missing: tuple[str, ...] = Field(default=(), description="Sites that missed a round, worst first")
    cases_lost: float = Field(default=0.0, description="Share of case-rounds that are missing from the model")


Line = SiteLine | RoundLine | ScoreLine | LinkLine | NoteLine | FinalLine
_KINDS: Mapping[str, type[Line]] = {
    "site": SiteLine,
    "round": RoundLine,
    "score": ScoreLine,
    "link": LinkLine,
    "note": NoteLine,
    "final": FinalLine,
}


class Ledger:
    """An append-only file of lines; each is on disk before the run goes on.

    A file that is there is gone on with; a last line that a crash cut short is taken out first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.lines: list[Line] = read_ledger(path)
        if path.is_file():
            _drop_torn_line(path)

    def append(self, line: Line) -> None:
        """Write a line and force it to disk; after the final line nothing is written any more.

        Raises:
            OSError: the disk did not take it; the file is as it was before.
        """
        text = (line.model_dump_json() + "\n").encode()
        with self._lock:
            if final_of(self.lines) is not None:
                return
            with self._path.open("ab") as file:
                size = file.tell()
                try:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(self._path, size)
                    raise
            self.lines.append(line)


def _drop_torn_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) != len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))


def read_line(content: Mapping[str, object], source: str) -> Line:
    """One line from its JSON object.

    Raises:
        InvalidInputError: it is no line of a ledger.
    """
    kind = _KINDS.get(str(content.get("event")))
    if kind is None:
        allowed = ", ".join(_KINDS)
        raise InvalidInputError(f"{source}: unknown event {content.get('event')!r}; expected one of {allowed}")
    return kind.check(dict(content), source)


def read_ledger(path: Path) -> list[Line]:
    """The lines of a ledger; a line cut short by a crash ends it."""
    lines: list[Line] = []
    if not path.is_file():
        return lines
    *texts, torn = path.read_text(encoding="utf-8").split("\n")
    # What a crash cut short has no line end; it may still be whole JSON, and is not believed.
    del torn
    for text in texts:
        try:
            content = json.loads(text)
        except json.JSONDecodeError:
            break
        lines.append(read_line(content, path.name))
    return lines


def final_of(lines: Sequence[Line]) -> FinalLine | None:
    """How a campaign ended; None if it has not."""
    last = lines[-1] if lines else None
    return last if isinstance(last, FinalLine) else None


def rounds_of(lines: Sequence[Line]) -> list[RoundLine]:
    """The rounds that led to an aggregate, each with the metric of its score line."""
    scores = {line.round: line for line in lines if isinstance(line, ScoreLine)}
    return [
        line.model_copy(update={"metric": scores[line.round].metric, "metric_cases": scores[line.round].metric_cases})
        if line.round in scores
        else line
        for line in lines
        if isinstance(line, RoundLine)
    ]


def required_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """The sites that the first link named as required; without a link line, every site that was asked."""
    for line in lines:
        if isinstance(line, LinkLine):
            return line.required
    return tuple(sorted({line.site for line in lines if isinstance(line, SiteLine)}))


def measure_of(lines: Sequence[Line]) -> Measure:
    """What the metrics of a run are, as its first link says."""
    return next((line.measure for line in lines if isinstance(line, LinkLine)), Measure.SCORE)


def answers_of(lines: Sequence[Line]) -> list[SiteLine]:
    """The answers that count: those behind an aggregate, and those that came after the last one.

    Answers of a round that ended without an aggregate are void once another link begins.
    """
    counted: list[SiteLine] = []
    open_round: list[SiteLine] = []
    for line in lines:
        if isinstance(line, SiteLine):
            open_round.append(line)
        elif isinstance(line, RoundLine):
            counted += open_round
            open_round = []
        elif isinstance(line, LinkLine):
            open_round = []
    return counted + open_round


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
    accepted = {(line.round, line.site): line for line in answers_of(lines) if line.accepted}
    aggregates = rounds_of(lines)
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
        measure=measure_of(lines),
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
