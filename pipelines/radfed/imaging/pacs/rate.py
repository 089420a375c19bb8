"""A limit on the mean rate of a transfer."""

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Makes who takes bytes too fast wait. Thread-safe.

    A file may be larger than the bucket: the bucket then goes into debt, and whoever takes next waits for it.

    Args:
        rate: bytes a second.
        longest: one wait at most (s), so that a peer that waits for our answer does not give up. What is left
            of the debt is waited for in later takes.
    """

    def __init__(
        self,
        rate: float,
        longest: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._longest, self._clock, self._sleep = rate, longest, clock, sleep
        self._level, self._seen = 0.0, clock()  # a full bucket holds nothing: no burst at the start
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Take ``count`` bytes, then wait until they are paid for."""
        with self._lock:
            now = self._clock()
            self._level = min(0.0, self._level + (now - self._seen) * self._rate) - count
            self._seen = now
            wait = min(-self._level / self._rate, self._longest)
        if wait > 0:
            self._sleep(wait)
