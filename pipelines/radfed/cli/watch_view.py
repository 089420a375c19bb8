"""A campaign as it runs, for people: a live table on a terminal, plain lines anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.filesize import decimal
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from radfed.cli.console import log
from radfed.cli.live import FederationView, scored
from radfed.ledger import FinalLine, Line, LinkLine, NoteLine, RoundLine, ScoreLine, SiteLine
from radfed.task import Measure

if TYPE_CHECKING:
    from radfed.federation.campaign_events import CampaignEvent


class CampaignView:
    """Gathers ledger lines and the driver's events into what a person wants to know.

    Args:
        rounds: of the whole campaign; None if that is not known.
    """

    def __init__(self, rounds: int | None) -> None:
        self._rounds = rounds
        self._latest: dict[str, SiteLine] = {}
        self._sent: dict[str, int] = {}
        self._seconds: list[float] = []
        self._scores: list[float] = []
        self._round, self._link = 0, 0
        self._measure = Measure.SCORE
        self._note = ""

    def take(self, line: Line) -> None:
        """Note a line of the ledger."""
        match line:
            case LinkLine():
                self._link, self._measure = line.link, line.measure
                for site in sorted({*line.required, *line.sites}):
                    self._latest.setdefault(site, SiteLine(round=line.first_round, site=site, asked=site in line.sites))
            case SiteLine():
                self._latest[line.site] = line
                self._sent[line.site] = self._sent.get(line.site, 0) + line.bytes
            case RoundLine():
                self._round = line.round
                self._seconds.append(line.seconds)
            case ScoreLine():
                if line.metric is not None:
                    self._scores.append(line.metric)
            case NoteLine():
                self._note = f"{line.site or 'server'}: {line.reason}"
            case FinalLine():
                self._note = line.outcome

    def note(self, text: str) -> None:
        """Show a text of the driver's below the table's head."""
        self._note = text

    @property
    def pace(self) -> str:
        """Rounds an hour and what is left, from the seconds that rounds took; the start of each link not counted."""
        if not self._seconds:
            return "no round yet"
        mean = sum(self._seconds) / len(self._seconds)
        pace = f"{3600 / mean:.1f} rounds an hour" if mean > 0 else "rounds take no time"
        if self._rounds is None:
            return pace
        return f"{pace}, about {_duration(mean * max(0, self._rounds - self._round))} left"

    def __rich__(self) -> Group:
        """The table, rendered anew at each refresh."""
        table = Table(title=None, expand=False, pad_edge=False)
        received = f"{self._measure.words} of model received"
        for name in ("site", "round", received, "training", "answered after", "sent", "state"):
            table.add_column(name, justify="left" if name in ("site", "state") else "right")
        for site, line in sorted(self._latest.items()):
            table.add_row(
                site,
                str(line.round),
                "-" if line.metric is None else f"{line.metric:.3f}",
                "-" if line.train_seconds is None else f"{line.train_seconds:.0f} s",
                "-" if line.seconds is None else f"{line.seconds:.0f} s",
                decimal(self._sent.get(site, 0)),
                _state(line),
            )
        best = scored(self._measure, max(self._scores, default=None))
        of = f"/{self._rounds}" if self._rounds is not None else ""
        head = f"FLARE job {self._link}   round {self._round}{of}   best validation {best}   {self.pace}"
        parts: list[Text | Padding | Table] = [Text(head)]
        if self._rounds is not None:
            parts.append(Padding(ProgressBar(total=self._rounds, completed=self._round, width=60), 0))
        if self._note:
            parts.append(Text(self._note, "bold"))
        return Group(*parts, table) if self._latest else Group(*parts)


class Teller:
    """Hands what happens to the live table, or prints it where there is none.

    Args:
        rounds: of the whole campaign; None if that is not known.
        view: the live table; None prints.
    """

    def __init__(self, rounds: int | None, view: CampaignView | None) -> None:
        self._view = view
        # Its words are those that radfed job simulate prints.
        self._words = FederationView(rounds or 0)

    def line(self, line: Line) -> None:
        """Tell a line of the ledger."""
        if self._view is not None:
            self._view.take(line)
        else:
            _print(self._words.take(line))

    def event(self, event: "CampaignEvent") -> None:
        """Tell what happened to the chain."""
        from radfed.federation.campaign_events import words

        if self._view is not None:
            self._view.note(words(event))
        else:
            _print(words(event))


@contextmanager
def campaign_view(rounds: int | None, plain: bool) -> Iterator[Teller]:
    """A teller with a live table on a terminal, and one that prints with ``plain`` or without a terminal."""
    if plain or not log.is_terminal:
        yield Teller(rounds, None)
        return
    view = CampaignView(rounds)
    with Live(view, console=log, refresh_per_second=2):
        yield Teller(rounds, view)


def outcome_words(final: FinalLine) -> str:
    """How a campaign ended, loud enough for one that is not whole."""
    best = f"best round {final.best_round}, validation {scored(final.measure, final.best_metric)}"
    if final.outcome == "COMPLETED":
        return f"COMPLETED: {best}"
    missing = f"missing from at least one round: {', '.join(final.missing)}" if final.missing else "no site is missing"
    lost = f"{100 * final.cases_lost:.1f} % of the case-rounds are not in the model"
    if final.outcome == "DEGRADED":
        return f"DEGRADED: {missing}; {lost}; {best}"
    return f"FAILED: not every round has an aggregate; {missing}; {lost}"


def _state(line: SiteLine) -> Text:
    if line.accepted:
        return Text("accepted" + (f", {line.restarts} restarts" if line.restarts else ""), "green")
    if line.reason is not None:
        return Text(line.reason, "yellow")
    return Text("at work" if line.asked else "not connected", "default" if line.asked else "yellow")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if hours:
        return f"{hours} h {rest:02d} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"


def _print(text: str) -> None:
    log.print(text, markup=False, soft_wrap=True)
