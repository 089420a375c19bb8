"""Where a run's time went."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from radfed.ledger import Line, SiteLine

COMPUTE = ("training", "evaluation", "baselines")
"""What the network itself costs; all else is overhead, FLARE's or ours."""


class Clock:
    """Seconds by kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def span(self, kind: str) -> Iterator[None]:
        """Count the time of a block under ``kind``."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(kind, time.monotonic() - started)

    def add(self, kind: str, seconds: float) -> None:
        """Count seconds under ``kind``."""
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds

    def split_federation(self, wall: float, lines: Sequence[Line]) -> None:
        """Divide a federation's seconds on the clock among training, evaluation and FLARE.

        In a round the sites work side by side, so the slowest one's seconds are what the round cost; what is left of
        the clock is FLARE's: its start, its messages, its waiting.
        """
        rounds: dict[int, list[SiteLine]] = {}
        for line in lines:
            if isinstance(line, SiteLine):
                rounds.setdefault(line.round, []).append(line)
        training = evaluation = 0.0
        for answers in rounds.values():
            slowest = max(answers, key=lambda line: (line.train_seconds or 0.0) + (line.evaluation_seconds or 0.0))
            training += slowest.train_seconds or 0.0
            evaluation += slowest.evaluation_seconds or 0.0
        self.add("training", training)
        self.add("evaluation", evaluation)
        self.add("FLARE", wall - training - evaluation)

    @property
    def overhead(self) -> float:
        """Share of the time that went into neither training nor evaluation."""
        total = sum(self.seconds.values())
        return 1 - sum(self.seconds.get(kind, 0.0) for kind in COMPUTE) / total if total else 0.0
