"""One round's answers as they come, and the rule by which the round closes."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from radfed.job import FederationSettings
from radfed.ledger import SiteLine


@dataclass(frozen=True)
class Answer:
    """What one site sent: its line, not yet accepted, and where its update lies if it can enter the aggregate."""

    line: SiteLine
    update: Path | None = None


@dataclass
class Gathering:
    """Answers of the sites asked, put in by FLARE's threads while the controller waits.

    The rule: a round closes when every site answered. Once ``min_sites`` were accepted at ``t`` seconds, the others
    have until ``max(t * patience, t + grace)``, for all sites take equally many steps. ``round_deadline`` is the end
    in any case, and a round ends at once when too few sites are left that could still answer.

    Attributes:
        number: of the round.
        sites: those asked.
        settings: patience, grace and deadline.
        needed: answers without which the round fails; None waits for every site that lives, until the deadline.
        now: a clock (s).
        answers: by site.
    """

    number: int
    sites: Sequence[str]
    settings: FederationSettings
    needed: int | None
    now: Callable[[], float] = time.monotonic
    answers: dict[str, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open = True
        self._asked_at = self.now()
        self._quorum_at: float | None = None

    @property
    def seconds(self) -> float:
        """Since the sites were asked."""
        return self.now() - self._asked_at

    @property
    def usable(self) -> int:
        """Answers that nothing speaks against."""
        return sum(answer.line.reason is None for answer in self.answers.values())

    def answered(self, site: str) -> SiteLine:
        """The line of a site that answers now."""
        return SiteLine(round=self.number, site=site, answered=True, seconds=round(self.seconds, 3))

    def refused(self, site: str, reason: str) -> Answer:
        """An answer that cannot be used."""
        return Answer(self.answered(site).model_copy(update={"reason": reason}))

    def put(self, answer: Answer) -> bool:
        """Take an answer; False when the round has closed or the site answered before."""
        with self._lock:
            if not self._open or answer.line.site in self.answers:
                return False
            self.answers[answer.line.site] = answer
            if self._quorum_at is None and self.needed is not None and self.usable >= self.needed:
                self._quorum_at = self.seconds
            return True

    def is_over(self, lost: Iterable[str] = ()) -> bool:
        """Whether to wait no longer.

        Args:
            lost: sites that FLARE takes for dead; they are not waited for.
        """
        with self._lock:
            waiting = set(self.sites) - self.answers.keys() - set(lost)
            usable, at = self.usable, self._quorum_at
        seconds = self.seconds
        if not waiting or (self.settings.round_deadline and seconds > self.settings.round_deadline):
            return True
        if self.needed is None:
            return False
        if usable + len(waiting) < self.needed:
            return True
        return at is not None and seconds > max(at * self.settings.patience, at + self.settings.grace)

    def close(self) -> dict[str, Answer]:
        """End the round; what comes later is late."""
        with self._lock:
            self._open = False
            return dict(self.answers)


def judge(answers: Iterable[Answer], norm_limit: float) -> list[Answer]:
    """Accept updates, but for those that change the model far more than the others do.

    An update is refused as ``norm_outlier`` if its norm is more than ``norm_limit`` times the median of the others'.
    With a single update there is nothing to compare it with, and with two the larger is the odd one out.
    """
    listed = list(answers)
    norms = {a.line.site: a.line.norm for a in listed if a.update is not None and a.line.norm is not None}
    judged = []
    for answer in listed:
        others = [norm for site, norm in norms.items() if site != answer.line.site]
        norm = norms.get(answer.line.site)
        if answer.update is None:
            judged.append(answer)
        elif norm is not None and others and norm > norm_limit * median(others) > 0:
            judged.append(Answer(answer.line.model_copy(update={"reason": "norm_outlier"})))
        else:
            judged.append(Answer(answer.line.model_copy(update={"accepted": True}), answer.update))
    return judged
