"""Trying again, ever more slowly."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from radfed.imaging.pacs.failure import PacsError, TransientError

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Exponential backoff with jitter, so that many sites do not return to a busy PACS at the same moment.

    Attributes:
        retries: tries after the first.
        first: mean wait before the second try (s), doubled before each further one.
        longest: largest wait of our own (s).
        longest_asked: largest wait that a server's ``Retry-After`` is followed to (s).
    """

    retries: int
    first: float = 0.5
    longest: float = 60.0
    longest_asked: float = 600.0
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random

    def wait(self, failures: int, retry_after: float | None = None) -> None:
        """Sleep after the given number of failures in a row, at least as long as the server asks."""
        # The exponent is bounded because 2.0**1024 is no float.
        own = min(self.longest, self.first * 2.0 ** min(failures - 1, 30)) * (0.5 + self.draw())
        self.sleep(max(own, min(retry_after or 0.0, self.longest_asked)))

    def run(self, call: Callable[[], T]) -> T:
        """The call's result, from the first try that gives one.

        Raises:
            PacsError: every try failed.
        """
        failures = 0
        while True:
            try:
                return call()
            except TransientError as error:
                failures += 1
                if failures > self.retries:
                    raise self.given_up(error) from error
                self.wait(failures, error.retry_after)

    def given_up(self, error: TransientError) -> PacsError:
        """What is said after the last try."""
        return PacsError(f"{error}; gave up after {self.retries + 1} tries in a row. Run it again: what came is kept")
