import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from radfed.training.prefetch import ahead, prefetched


def test_items_come_in_their_order_and_at_most_one_is_made_in_vain() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    with ThreadPoolExecutor(1) as pool:
        items = ahead(numbers(), pool)
        assert [next(items) for _ in range(3)] == [0, 1, 2]
    assert made in ([0, 1, 2], [0, 1, 2, 3])
    with ThreadPoolExecutor(1) as pool:
        assert list(ahead(iter("abc"), pool)) == ["a", "b", "c"]


def test_the_next_is_made_while_the_last_is_worked_on() -> None:
    started = threading.Event()

    def slow() -> Iterator[int]:
        yield 0
        started.set()
        yield 1

    with ThreadPoolExecutor(1) as pool:
        items = ahead(slow(), pool)
        assert next(items) == 0
        assert started.wait(timeout=10), "the second is begun though nobody asked for it"


def test_what_goes_wrong_comes_out_where_it_is_asked_for() -> None:
    def broken() -> Iterator[int]:
        yield 0
        raise RuntimeError("no room")

    with ThreadPoolExecutor(1) as pool:
        items = ahead(broken(), pool)
        next(items)
        with pytest.raises(RuntimeError, match="no room"):
            next(items)


def test_a_cpu_makes_nothing_ahead() -> None:
    threads: set[str] = set()

    def named() -> Iterator[None]:
        for _ in range(2):
            threads.add(threading.current_thread().name)
            yield
            time.sleep(0)

    with prefetched(named(), torch.device("cpu")) as items:
        assert len(list(items)) == 2
    assert threads == {threading.current_thread().name}
