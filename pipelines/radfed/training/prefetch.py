"""The next batch is made while the device works on this one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def prefetched(batches: Iterator[T], device: torch.device) -> Iterator[Iterator[T]]:
    """The same batches in the same order, one made ahead where the device is no CPU.

    On a CPU both would want the same cores, and the threads of one would keep those of the other waiting.
    """
    if device.type == "cpu":
        yield batches
        return
    with ThreadPoolExecutor(1, "radfed-prefetch") as pool:
        yield ahead(batches, pool)


def ahead(batches: Iterator[T], pool: ThreadPoolExecutor) -> Iterator[T]:
    """Items of an iterator, of which the pool makes the next one while the caller has the last one.

    The caller may stop at any item; then at most one was made in vain.
    """
    end = object()
    coming = pool.submit(next, batches, end)
    while (item := coming.result()) is not end:
        coming = pool.submit(next, batches, end)
        yield item  # type: ignore[misc] # the end is no item
