"""Work in other processes, so that a broken file can crash, hang or swell a worker and nothing else.

C decoders are the part of reading that a hostile or broken file reaches; none of them is trusted to survive it.
"""

import multiprocessing
import os
import pickle
import resource
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")

MEMORY = 1500 * 2**20
"""What a piece of work may allocate beyond what its worker holds when it starts (bytes)."""

_PRELOADED = ["numpy", "pydicom", "radfed.imaging.dicom.read"]
_END_SECONDS = 5.0


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


class _Worker:
    """One process and the pipe to it. It works on one item at a time."""

    def __init__(self) -> None:
        # A server process that never computed is the only thing that may be forked safely from a program with threads.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        # With their end closed here, the death of the process ends our reading.
        theirs.close()
        self.place = 0
        self.deadline = 0.0

    def give(self, place: int, work: tuple[object, ...], timeout: float) -> None:
        """Begin with the item at this place of the order."""
        self.place, self.deadline = place, time.monotonic() + timeout
        self.pipe.send(work)

    def take(self) -> tuple[object, Exception | None]:
        """The value or the error that the process sent.

        Raises:
            ChildProcessError: it died instead.
        """
        try:
            value, error = self.pipe.recv()
        except (EOFError, OSError) as gone:
            raise ChildProcessError("the process that worked on it died") from gone
        return value, error

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join(_END_SECONDS)
        self.pipe.close()


class Workers:
    """A number of processes for functions of a module and picklable arguments. Made by ``workers``."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    def map(
        self, function: Callable[[A], R], items: Iterable[A], timeout: float, memory: Callable[[A], int] | None = None
    ) -> Iterator[Outcome[A, R]]:
        """Run a function on each item; outcomes come in the items' order.

        Calls may be nested or left early: each has workers of its own while they are busy.

        Args:
            function: of a module, so that a worker finds it by name.
            items: drawn as workers become free, never all at once.
            timeout: of one item (s); its worker is ended and another one started.
            memory: what an item may allocate (bytes); None takes ``MEMORY`` for each.
        """
        source = enumerate(items)
        busy: list[_Worker] = []
        given: dict[int, A] = {}
        ended: dict[int, Outcome[A, R]] = {}
        following, exhausted = 0, False
        try:
            while not exhausted or given:
                # No further ahead of what is taken than a few items a worker: memory does not grow with their number.
                while not exhausted and len(busy) < self._count and len(given) < 4 * self._count:
                    place, item = next(source, (None, None))
                    if place is None:
                        exhausted = True
                        break
                    given[place] = item  # type: ignore[assignment]
                    limit = MEMORY if memory is None else memory(item)  # type: ignore[arg-type]
                    busy.append(self._begin(place, (function, item, limit), timeout))
                for place, value, error in self._step(busy):
                    ended[place] = Outcome(given[place], value, error)  # type: ignore[arg-type]
                while following in ended:
                    yield ended.pop(following)
                    del given[following]
                    following += 1
        finally:
            # Nobody waits for these any more; their answers must not meet another call.
            for worker in busy:
                self._retire(worker)

    def end(self) -> None:
        """End all processes."""
        for worker in tuple(self._all):
            self._retire(worker)
        self._idle = []

    def _begin(self, place: int, work: tuple[object, ...], timeout: float) -> _Worker:
        while True:
            worker = self._idle.pop() if self._idle else _Worker()
            self._all.add(worker)
            try:
                worker.give(place, work, timeout)
            except OSError:  # it died while it had nothing to do; another one takes the item
                self._retire(worker)
                continue
            return worker

    def _step(self, busy: list[_Worker]) -> Iterator[tuple[int, object, Exception | None]]:
        """Wait for the next answer, death or deadline; who is done is busy no more."""
        if not busy:
            return
        left = min(worker.deadline for worker in busy) - time.monotonic()
        ready = wait([worker.pipe for worker in busy], timeout=max(left, 0.0))
        for worker in tuple(busy):
            if worker.pipe in ready:
                busy.remove(worker)
                try:
                    value, error = worker.take()
                except ChildProcessError as death:
                    self._retire(worker)
                    yield worker.place, None, death
                    continue
                self._idle.append(worker)
                yield worker.place, value, error
            elif worker.deadline <= time.monotonic():
                busy.remove(worker)
                self._retire(worker)
                yield worker.place, None, TimeoutError("it took too long")

    def _retire(self, worker: _Worker) -> None:
        """End a worker that is of no use any more; the next item starts another one."""
        if worker in self._all:
            self._all.remove(worker)
            worker.end()


@contextmanager
def workers(count: int | None = None) -> Iterator[Workers]:
    """Give worker processes, and end them with the block, whatever happens.

    Args:
        count: how many; None takes one a core.
    """
    pool = Workers(count or len(os.sched_getaffinity(0)))
    try:
        yield pool
    finally:
        pool.end()


def _serve(pipe: Connection) -> None:
    """In a worker: answer until the other end closes. No core files, which would hold pixels; one thread a process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["OMP_NUM_THREADS"] = "1"
    # Libraries quote headers in their warnings, and decoders print; what matters comes back as an answer.
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            function, item, memory = pipe.recv()
            pipe.send(_portable(_run(function, item, memory)))


def _run(function: Callable[[Any], object], item: object, memory: int) -> tuple[object, Exception | None]:
    """Run the function with an end to what this process may allocate."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_held() + memory, hard))
    try:
        return function(item), None
    except Exception as error:  # whatever the work raised is the outcome; who asked decides
        return None, error
    finally:
        # Passing the result on takes memory as well.
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _portable(answer: tuple[object, Exception | None]) -> tuple[object, Exception | None]:
    """The answer, or in words what cannot be passed on."""
    try:
        pickle.loads(pickle.dumps(answer[1]))
    except Exception:  # an error may hold anything, and its class may be unable to rebuild it
        return None, RuntimeError(f"{type(answer[1]).__name__}: {answer[1]}")
    return answer


def _held() -> int:
    """Address space that this process holds (bytes)."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[0]) * resource.getpagesize()
