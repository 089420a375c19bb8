"""The listener's queue: what is on disk after each step, and after a process that ended between any two."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from radfed.errors import GateError
from radfed.inference.listener.queue import StudyQueue
from radfed.inference.listener.study import Name, Record, State, read_record

Reopen = Callable[..., StudyQueue]


class Clock:
    """Seconds that the test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reopen(tmp_path: Path, clock: Clock) -> Iterator[Reopen]:
    """Opens the queue; closes the one before, as the end of its process does."""
    opened: list[StudyQueue] = []

    def reopened(most: float = 1000) -> StudyQueue:
        for queue in opened:
            queue.close()
        opened.append(StudyQueue(tmp_path / "queue", most, clock))
        return opened[-1]

    yield reopened
    opened[-1].close()


@pytest.fixture
def queue(reopen: Reopen) -> StudyQueue:
    return reopen()


def name(number: int, content: bytes = b"image") -> Name:
    return Name.of(f"1.2.{number}", "1.2.840.10008.1.2.1", content)


def put(queue: StudyQueue, number: int, content: bytes = b"image", study: str = "study", association: int = 0) -> str:
    return queue.put(study, name(number, content), b"head ", content, association)


def finish(queue: StudyQueue, clock: Clock, to: State = State.DONE) -> None:
    put(queue, 1)
    clock.now += 10
    queue.promote(10)
    queue.take()
    queue.end("study", State.WORKING, to, Record(ended=100.0))


def files(queue: StudyQueue, state: State, study: str = "study") -> set[str]:
    return {path.name for path in queue.path(study, state).glob("*.dcm")}


def test_a_study_is_queued_when_it_has_been_quiet_and_goes_through_all_states(queue: StudyQueue, clock: Clock) -> None:
    assert put(queue, 1) == "kept"
    clock.now = 8
    assert put(queue, 2) == "kept"
    clock.now = 17
    assert queue.promote(10) == []
    assert queue.take() is None
    clock.now = 18
    assert queue.promote(10) == []
    assert queue.take() == ("study", 1)
    assert files(queue, State.WORKING) == {name(1).file, name(2).file}
    assert (queue.path("study", State.WORKING) / name(1).file).read_bytes() == b"head image"
    queue.end("study", State.WORKING, State.SENDING, Record(results=("a",)))
    assert queue.take_to_send() == "study"
    queue.end("study", State.SENDING, State.DONE, Record(results=("a",), sent=True))
    assert read_record(queue.path("study", State.DONE)).sent is True
    assert put(queue, 2) == "duplicate"
    assert not queue.path("study", State.INCOMING).exists()


def test_an_open_association_keeps_its_studies_waiting_but_not_for_ever(queue: StudyQueue, clock: Clock) -> None:
    put(queue, 1, association=7)
    put(queue, 1, study="other", association=8)
    clock.now = 11
    queue.ended(8)
    queue.promote(10)
    assert queue.studies(State.QUEUED) == ["other"]
    clock.now = 61
    queue.promote(10)
    assert sorted(queue.studies(State.QUEUED)) == ["other", "study"]


def test_other_bytes_under_a_known_uid_lie_in_quarantine(queue: StudyQueue, tmp_path: Path) -> None:
    put(queue, 1)
    assert put(queue, 1, b"other") == "other_bytes"
    assert files(queue, State.INCOMING) == {name(1).file}
    [aside] = (tmp_path / "queue" / "quarantine").rglob("*.dcm")
    assert aside.read_bytes() == b"head other"


def test_what_had_no_room_keeps_the_study_from_being_complete_until_it_comes_again(
    queue: StudyQueue, clock: Clock, reopen: Reopen
) -> None:
    put(queue, 1)
    assert put(queue, 2, b"x" * 1000) == "study_too_large"
    queue.miss("study", name(2).instance)
    clock.now = 10
    queue.promote(10)
    assert queue.missing("study") == 1
    again = reopen(5000)
    assert again.missing("study") == 1
    assert put(again, 2, b"x" * 1000) == "kept"
    assert again.missing("study") == 0


def test_nothing_is_missing_of_what_is_there_already(queue: StudyQueue, clock: Clock) -> None:
    put(queue, 1)
    queue.miss("study", name(1).instance)
    assert queue.missing("study") == 0
    finish(queue, clock)
    queue.miss("study", name(1).instance)
    clock.now = 40
    assert queue.promote(10) == [], "a study that is done stays done"
    assert queue.sweep(before=101.0) == 1
    queue.miss("study", name(1).instance)
    queue.miss("study", name(2).instance)
    assert not queue.path("study", State.INCOMING).exists(), "a swept one stays closed"


@pytest.mark.parametrize("ended", [State.DONE, State.FAILED, State.SENDING])
def test_a_late_instance_has_the_whole_study_done_again(queue: StudyQueue, clock: Clock, ended: State) -> None:
    put(queue, 1)
    clock.now = 10
    queue.promote(10)
    queue.take()
    queue.end("study", State.WORKING, ended, Record(reason="gap"))
    assert put(queue, 2) == "kept"
    clock.now = 20
    assert queue.promote(10) == ["study"]
    assert queue.take() == ("study", 1), "the tries of before do not count"
    assert files(queue, State.WORKING) == {name(1).file, name(2).file}
    assert not queue.path("study", ended).exists()


def test_what_comes_while_a_study_is_worked_on_or_sent_waits_for_its_end(queue: StudyQueue, clock: Clock) -> None:
    put(queue, 1)
    clock.now = 10
    queue.promote(10)
    queue.take()
    put(queue, 2)
    clock.now = 30
    assert queue.promote(10) == []
    queue.end("study", State.WORKING, State.SENDING, Record())
    queue.take_to_send()
    assert queue.promote(10) == []
    queue.keep("study")
    assert queue.promote(10) == ["study"]
    assert files(queue, State.QUEUED) == {name(1).file, name(2).file}


@pytest.mark.parametrize("left", list(State))
def test_a_process_that_died_loses_nothing_whatever_the_state(
    queue: StudyQueue, reopen: Reopen, tmp_path: Path, left: State
) -> None:
    put(queue, 1)
    put(queue, 2)
    folder = queue.path("study", State.INCOMING)
    if left is not State.INCOMING:
        os.replace(folder, queue.path("study", left))
    (tmp_path / "queue" / "parts" / "half").write_bytes(b"he")
    again = reopen()
    assert put(again, 1) == "duplicate"
    assert not list((tmp_path / "queue" / "parts").iterdir())
    there = State.QUEUED if left is State.WORKING else left
    assert files(again, there) == {name(1).file, name(2).file}


def test_gathering_that_was_cut_short_goes_on(queue: StudyQueue, clock: Clock, reopen: Reopen) -> None:
    for number in (1, 2):
        put(queue, number)
    done = queue.path("study", State.DONE)
    shutil.copytree(queue.path("study", State.INCOMING), done)
    (queue.path("study", State.INCOMING) / name(2).file).unlink()
    again = reopen()
    put(again, 3)
    clock.now = 10
    assert again.promote(10) == ["study"]
    assert files(again, State.QUEUED) == {name(1).file, name(2).file, name(3).file}


def test_tries_are_counted_over_deaths(queue: StudyQueue, clock: Clock, reopen: Reopen) -> None:
    put(queue, 1)
    clock.now = 10
    queue.promote(10)
    for tries in (1, 2, 3):
        assert queue.take() == ("study", tries)
        queue = reopen()


def test_who_has_a_failed_study_done_again_by_hand_begins_to_count_anew(queue: StudyQueue, clock: Clock) -> None:
    finish(queue, clock, State.FAILED)
    os.replace(queue.path("study", State.FAILED), queue.path("study", State.QUEUED))
    assert queue.take() == ("study", 1)


def test_a_study_that_cannot_be_sent_lets_the_others_go_first(queue: StudyQueue, clock: Clock) -> None:
    for number, study in enumerate(("first", "second")):
        put(queue, number, study=study)
        clock.now += 10
        queue.promote(10)
        queue.take()
        queue.end(study, State.WORKING, State.SENDING, Record())
        os.utime(queue.path(study, State.SENDING), (number, number))
    assert queue.take_to_send() == "first"
    queue.keep("first")
    assert queue.take_to_send() == "second"
    queue.keep("second")
    assert queue.take_to_send() == "first"


def test_a_sweep_that_was_cut_short_goes_on(queue: StudyQueue, clock: Clock, reopen: Reopen) -> None:
    finish(queue, clock)
    record = queue.path("study", State.DONE) / "record.json"
    record.write_text(Record(ended=100.0, closed=True).model_dump_json())  # and killed before the images went
    again = reopen()
    assert again.sweep(before=101.0) == 1
    assert files(again, State.DONE) == set()
    assert again.sweep(before=101.0) == 0


def test_images_in_quarantine_go_with_the_study(queue: StudyQueue, clock: Clock, tmp_path: Path) -> None:
    put(queue, 1)
    assert put(queue, 1, b"other") == "other_bytes"
    finish(queue, clock)
    assert queue.sweep(before=101.0) == 1
    assert list((tmp_path / "queue" / "quarantine").iterdir()) == []


def test_swept_studies_have_no_images_and_take_none(queue: StudyQueue, clock: Clock, reopen: Reopen) -> None:
    put(queue, 1)
    clock.now = 10
    queue.promote(10)
    queue.take()
    queue.end("study", State.WORKING, State.DONE, Record(ended=100.0))
    assert queue.sweep(before=100.0) == 0
    assert queue.sweep(before=101.0) == 1
    assert files(queue, State.DONE) == set()
    assert put(queue, 2) == "study_closed"
    assert put(reopen(), 1) == "study_closed"


def test_one_process_at_a_time(queue: StudyQueue, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="another listener uses this folder"):
        StudyQueue(tmp_path / "queue", 1000)
