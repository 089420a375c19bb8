import os

import pytest
from worker_functions import allocate, double, misbehave, slowly_double  # type: ignore[import-not-found]

from radfed.workers import workers


def test_outcomes_come_in_the_order_of_the_items() -> None:
    with workers(2) as pool:
        assert [outcome.value for outcome in pool.map(double, range(20), timeout=20)] == [2 * n for n in range(20)]


def test_what_goes_wrong_with_one_item_leaves_the_others_alone() -> None:
    items = ["a", "crash", "b", "hang", "c", "swell", "d", "raise", "e"]
    with workers(2) as pool:
        outcomes = list(pool.map(misbehave, items, timeout=3))
    assert [outcome.item for outcome in outcomes] == items
    assert [outcome.value for outcome in outcomes] == ["a", None, "b", None, "c", None, "d", None, "e"]
    kinds = [type(outcome.error) for outcome in outcomes if outcome.error is not None]
    assert [kind.__name__ for kind in kinds] == ["ChildProcessError", "TimeoutError", "MemoryError", "ValueError"]


@pytest.mark.parametrize(("megabytes", "fits"), [(100, True), (400, False)])
def test_each_item_has_its_own_share_of_memory(megabytes: int, fits: bool) -> None:
    with workers(1) as pool:
        (outcome,) = pool.map(allocate, [megabytes], timeout=20, memory=lambda _: 200 * 2**20)
    assert (outcome.value is not None) == fits


def test_items_are_drawn_as_workers_become_free() -> None:
    drawn = 0

    def count() -> "list[int]":
        nonlocal drawn
        drawn += 1
        return [drawn]

    with workers(1) as pool:
        outcomes = pool.map(double, (count()[0] for _ in range(50)), timeout=20)
        assert next(outcomes).value == 2
        assert drawn < 10


def test_a_call_within_a_call_gets_its_own_answers() -> None:
    with workers(2) as pool:
        found = []
        for outer in pool.map(slowly_double, range(6), timeout=20):
            inner = [outcome.value for outcome in pool.map(double, range(100, 108), timeout=20)]
            assert inner == [2 * number for number in range(100, 108)]
            found.append(outer.value)
    assert found == [0, 2, 4, 6, 8, 10]


def test_a_call_that_is_left_early_leaves_no_answer_to_the_next() -> None:
    with workers(2) as pool:
        left = pool.map(slowly_double, range(8), timeout=20)
        assert next(left).value == 0
        left.close()  # type: ignore[attr-defined]
        assert [outcome.value for outcome in pool.map(double, range(8), timeout=20)] == [2 * n for n in range(8)]


def test_no_process_is_left_after_an_error() -> None:
    before = set(_children())
    with pytest.raises(ZeroDivisionError), workers(2) as pool:
        list(pool.map(double, (1 // number for number in (2, 1, 0)), timeout=20))
    # The fork server itself stays, and what watches over it, for the next pool.
    assert len(set(_children()) - before) <= 2


def _children() -> list[str]:
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children", encoding="ascii") as stream:
        return stream.read().split()
