"""Python's warnings in programs of several threads."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ONE = threading.RLock()


@contextmanager
def unwarned(*, heard: bool = False) -> Iterator[list[warnings.WarningMessage]]:
    """Use a library that warns about odd values, which would put them on stderr.

    How warnings are treated belongs to the process, so one thread at a time is in here: another one's end would bring
    back in the middle of this one what it found at its beginning.

    Args:
        heard: give what was warned of; else nobody is told.

    Yields:
        The warnings so far, if they are heard.
    """
    with _ONE, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always" if heard else "ignore")
        yield caught
