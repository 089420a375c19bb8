"""Several cases at a time on the CPU: one is read and written while windows of another go through the network.

Threads within an operator are of little use to the small windows of most tasks; windows and cases side by side are.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self, TypeVar

from radfed.imaging.volume import Volume
from radfed.inference.model import OnnxModel
from radfed.inference.sliding_window import BATCH, SideBySide
from radfed.task import SegmentationTask

A = TypeVar("A")
R = TypeVar("R")

_LARGE = 2**28
"""Bytes of scores from which on a case is segmented alone: the scores of several large ones may not fit in memory."""

_BYTES_A_SCORE = 12  # blended in float64, then brought back in float32


class Crew:
    """What segments: a model, and the threads that use it.

    Attributes:
        model: to be called from them.
        batch: windows a call of the model.
        windows: threads for windows; None where the model has threads of its own.
    """

    def __init__(self, model: OnnxModel, batch: int, threads: int) -> None:
        self.model, self.batch, self._threads = model, batch, threads
        self._places, self._gate = threading.Semaphore(threads), threading.Lock()
        self._cases = ThreadPoolExecutor(threads) if threads > 1 else None
        self._windows = ThreadPoolExecutor(threads) if threads > 1 else None
        self.windows = SideBySide(self._windows, threads) if self._windows else None

    @classmethod
    @contextmanager
    def of(cls, model: OnnxModel, cases: int) -> Iterator[Self]:
        """For so many cases; a single one, or one after the other on a GPU, has the model's own threads."""
        threads = model.threads or len(os.sched_getaffinity(0))
        on_cpu = model.provider == "CPUExecutionProvider"
        if threads == 1 or cases == 1 or not on_cpu:
            crew = cls(model, 1 if threads == 1 and on_cpu else BATCH, 1)
        else:
            # One window at a time: the network's activations then stay in the caches of a core.
            crew = cls(model.for_many_callers(), 1, threads)
        try:
            yield crew
        finally:
            for pool in (crew._cases, crew._windows):
                if pool is not None:
                    pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[A], R], items: Sequence[A]) -> Iterator[R]:
        """The function's values in the order of the items."""
        return self._cases.map(function, items) if self._cases else map(function, items)

    @contextmanager
    def room_for(self, volume: Volume, task: SegmentationTask) -> Iterator[None]:
        """Held while a case is segmented: a large one waits until it is alone."""
        extent = [side * space for side, space in zip(volume.shape, volume.spacing, strict=True)]
        on_grid = math.prod(extent) / math.prod(task.spacing) if task.dimensions == 3 else 0.0
        scores = max(on_grid, math.prod(volume.shape)) * task.outputs * _BYTES_A_SCORE
        places = self._threads if scores > _LARGE else 1
        with self._gate:
            for _ in range(places):
                self._places.acquire()
        try:
            yield
        finally:
            self._places.release(places)
