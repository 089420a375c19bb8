"""A federation as it runs: a live table on a terminal, plain lines anywhere else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from radfed.cli.console import log
from radfed.ledger import FinalLine, Line, LinkLine, NoteLine, RoundLine, ScoreLine, SiteLine
from radfed.task import Measure


class FederationView:
    """Gathers ledger lines into what a person wants to know: who, how far, how good, until when."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._started = time.monotonic()
        self._sites: dict[str, SiteLine] = {}
        self._scored: list[ScoreLine] = []
        self._measure = Measure.SCORE
        self._done = 0
        self._last_round_at = self._started

    def take(self, line: Line) -> str:
        """Note a line; returns it in plain words."""
        match line:
            case SiteLine():
                if line.weight is not None or not line.accepted:
                    self._sites[line.site] = line
                if line.accepted and line.round > self._done:
                    self._done, self._last_round_at = line.round, time.monotonic()
                return _site_words(line)
            case RoundLine():
                return (
                    f"round {line.round}/{self._rounds}: {line.accepted} updates, {line.seconds:.0f} s; "
                    f"{self.remaining()}"
                )
            case ScoreLine():
                self._scored.append(line)
                of = f"{line.metric_cases} {self._measure.over}"
                return f"round {line.round}/{self._rounds}: validation {scored(self._measure, line.metric)} on {of}"
            case LinkLine():
                self._measure = line.measure
                return f"FLARE job {line.link}, from round {line.first_round}, with {', '.join(line.sites)}"
            case NoteLine():
                who = f"{line.site}: " if line.site else ""
                return f"  {who}{line.reason}" + (f" in round {line.round}" if line.round else "")
            case FinalLine():
                return (
                    f"{line.outcome}: best round {line.best_round}, validation {scored(line.measure, line.best_metric)}"
                )

    def remaining(self) -> str:
        """The estimated time to the end of the rounds, from the mean of those done."""
        if not self._done:
            return "starting"
        per_round = (self._last_round_at - self._started) / self._done
        left = per_round * (self._rounds - self._done) - (time.monotonic() - self._last_round_at)
        return f"about {_duration(max(0.0, left))} left"

    def __rich__(self) -> Group:
        """The table, rendered anew at each refresh."""
        table = Table(title=None, expand=False, pad_edge=False)
        for name in ("site", "round", "cases", "loss", f"{self._measure.words} of model received", "train", "state"):
            table.add_column(name, justify="left" if name in ("site", "state") else "right")
        for name, line in sorted(self._sites.items()):
            table.add_row(
                name,
                str(line.round),
                "-" if line.weight is None else f"{line.weight:.0f}",
                _number(line.loss),
                _number(line.metric),
                "-" if line.train_seconds is None else f"{line.train_seconds:.0f} s",
                Text("accepted", "green") if line.accepted else Text(line.reason or "answered", "yellow"),
            )
        best = max((line.metric for line in self._scored if line.metric is not None), default=None)
        how_good = f"best validation {scored(self._measure, best)}"
        head = f"round {self._done}/{self._rounds}   {how_good}   {self.remaining()}"
        # Padding ends the bar's line; a bar by itself does not.
        bar = Padding(ProgressBar(total=self._rounds, completed=self._done, width=60), 0)
        return Group(Text(head), bar, table) if self._sites else Group(Text(head), bar)


@contextmanager
def federation_view(rounds: int, plain: bool) -> Iterator[FederationView]:
    """A view that shows itself on a terminal; with ``plain`` or no terminal, ``say`` prints lines instead."""
    view = FederationView(rounds)
    if plain or not log.is_terminal:
        yield view
        return
    with Live(view, console=log, refresh_per_second=2):
        yield view


def say(view: FederationView, line: Line, plain: bool) -> None:
    """Hand a ledger line to the view, and print it where no live table is shown."""
    words = view.take(line)
    if plain or not log.is_terminal:
        log.print(words, markup=False, soft_wrap=True)


def scored(measure: Measure, value: float | None) -> str:
    """What was measured, and the number; a dash where nothing was."""
    return f"{measure.words} {_number(value)}"


def _site_words(line: SiteLine) -> str:
    if line.train_seconds:
        return (
            f"  {line.site}: round {line.round}, {line.weight or 0:.0f} cases, loss {_number(line.loss)}, "
            f"{line.train_seconds:.0f} s training, {'accepted' if line.accepted else 'refused: ' + str(line.reason)}"
        )
    return f"  {line.site}: round {line.round}, not accepted: {line.reason}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
