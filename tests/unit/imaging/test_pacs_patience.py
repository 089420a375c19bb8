import pytest
from hypothesis import given
from hypothesis import strategies as st

from radfed.imaging.pacs.failure import PacsError, TransientError
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.rate import TokenBucket


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def failing(times: int, error: TransientError) -> list[TransientError | None]:
    return [error] * times + [None]


def run(patience: Patience, outcomes: list[TransientError | None]) -> str:
    left = iter(outcomes)

    def call() -> str:
        error = next(left)
        if error:
            raise error
        return "done"

    return patience.run(call)


def test_waits_double_and_end() -> None:
    clock = Clock()
    patience = Patience(8, longest=20.0, sleep=clock.sleep, draw=lambda: 0.5)
    assert run(patience, failing(8, TransientError("busy"))) == "done"
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_jitter_is_half_to_one_and_a_half() -> None:
    clock = Clock()
    draws = iter((0.0, 1.0))
    run(Patience(2, sleep=clock.sleep, draw=lambda: next(draws)), failing(2, TransientError("busy")))
    assert clock.slept == [0.25, 1.5]


def test_the_server_may_ask_for_a_longer_wait_within_reason() -> None:
    clock = Clock()
    patience = Patience(1, sleep=clock.sleep, draw=lambda: 0.5)
    run(patience, failing(1, TransientError("busy", retry_after=7.0)))
    run(patience, failing(1, TransientError("busy", retry_after=1e9)))
    run(patience, failing(1, TransientError("busy", retry_after=0.0)))
    assert clock.slept == [7.0, 600.0, 0.5]


@pytest.mark.parametrize("retries", [0, 1, 4])
def test_it_gives_up(retries: int) -> None:
    clock = Clock()
    with pytest.raises(PacsError, match=rf"busy; gave up after {retries + 1} tries"):
        run(Patience(retries, sleep=clock.sleep), failing(retries + 1, TransientError("busy")))
    assert len(clock.slept) == retries


def test_what_does_not_pass_is_not_tried_again() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise PacsError("wrong password")

    with pytest.raises(PacsError, match="wrong password"):
        Patience(5).run(call)
    assert len(calls) == 1


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=50), st.floats(100.0, 10_000.0))
def test_the_mean_rate_is_kept(counts: list[int], rate: float) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, longest=1e9, clock=clock, sleep=clock.sleep)
    for count in counts:
        bucket.take(count)
    assert clock.now - 100.0 == pytest.approx(sum(counts) / rate)


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    bucket = TokenBucket(1000.0, clock=clock, sleep=clock.sleep)
    clock.now += 3600.0
    bucket.take(1000)
    assert clock.slept == [pytest.approx(1.0)]


def test_a_long_wait_is_spread_over_later_takes() -> None:
    clock = Clock()
    bucket = TokenBucket(1000.0, longest=5.0, clock=clock, sleep=clock.sleep)
    for count in (12_000, 1, 1, 1):
        bucket.take(count)
    assert clock.slept == pytest.approx([5.0, 5.0, 2.002, 0.001])
