"""A progress bar on stderr, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from radfed.cli.console import log


@contextmanager
def file_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """The same for files; the bar comes with the first of them."""
    with case_progress(what, shown=False) as on_progress:
        yield on_progress


@contextmanager
def case_progress(what: str, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Give a function to call with (done, total) cases; the bar goes when the work is over."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=log, transient=True, disable=not log.is_terminal) as progress:
        bar = progress.add_task(what, total=None, visible=shown)
        yield lambda done, total: progress.update(bar, completed=done, total=total, visible=True)
