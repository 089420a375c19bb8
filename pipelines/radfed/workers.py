"""Work in other processes, so that a broken file can crash, hang or swell a worker and nothing else.

C decoders are the part of reading that a hostile or broken file reaches; none of them is trusted to survive it.
"""

import multiprocessing
import os
import resource
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

A = TypeVar("A")
R = TypeVar("R")

MEMORY = 1500 * 2**20
"""What a piece of work may allocate beyond what its worker holds when it starts (bytes)."""

_PRELOADED = ["numpy", "pydicom", "radfed.imaging.dicom.read"]


@dataclass(frozen=True)
class Outcome(Generic[A, R]):
    """What became of one piece of work.

    Attributes:
        item: what was given.
        value: what came back; None if ``error`` says why not.
        error: what the work raised; ``TimeoutError`` if it took too long, ``MemoryError`` if it wanted more than its
            share, ``ChildProcessError`` if its process died.
    """

    item: A
    value: R | None = None
    error: Exception | None = None


class Workers:
    """A pool of processes for functions of a module and picklable arguments. Made by ``workers``."""

    def __init__(self, pool: ProcessPool, count: int) -> None:
        self._pool = pool
        self._count = count

    def map(
        self, function: Callable[[A], R], items: Iterable[A], timeout: float, memory: Callable[[A], int] | None = None
    ) -> Iterator[Outcome[A, R]]:
        """Run a function on each item; outcomes come in the items' order.

        Args:
            function: of a module, so that a worker finds it by name.
            items: drawn as workers become free, never all at once.
            timeout: of one item (s); its worker is ended and another one started.
            memory: what an item may allocate (bytes); None takes ``MEMORY`` for each.
        """
        waiting: deque[tuple[A, Future[R]]] = deque()
        for item in items:
            limit = MEMORY if memory is None else memory(item)
            waiting.append((item, self._pool.schedule(_limited, args=(function, item, limit), timeout=timeout)))
            if len(waiting) > 2 * self._count:
                yield _outcome(*waiting.popleft())
        while waiting:
            yield _outcome(*waiting.popleft())


def _outcome(item: A, future: "Future[R]") -> Outcome[A, R]:
    try:
        return Outcome(item, value=future.result())
    except ProcessExpired:
        return Outcome(item, error=ChildProcessError("the process that worked on it died"))
    except Exception as error:  # whatever the work raised is the outcome; who asked decides
        return Outcome(item, error=error)


@contextmanager
def workers(count: int | None = None) -> Iterator[Workers]:
    """Start worker processes, and end them with the block, whatever happens.

    Args:
        count: how many; None takes one a core.
    """
    number = count or len(os.sched_getaffinity(0))
    # A server process that never computed is the only thing that may be forked safely from a program with threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    pool = ProcessPool(max_workers=number, context=context, initializer=_prepare)
    try:
        yield Workers(pool, number)
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


def _prepare() -> None:
    """In a new worker: no core files, which would hold pixels; one thread, because a core has one worker."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["OMP_NUM_THREADS"] = "1"


def _limited(function: Callable[[A], R], item: A, memory: int) -> R:
    """Run the function with an end to what this process may allocate."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_held() + memory, hard))
    try:
        return function(item)
    finally:
        # Passing the result on, or the error, takes memory as well.
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _held() -> int:
    """Address space that this process holds (bytes)."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
