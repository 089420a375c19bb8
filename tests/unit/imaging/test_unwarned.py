"""Threads that read odd files at the same time do not change each other's warnings."""

import threading
import warnings

import pytest

from radfed.errors import DataError
from radfed.imaging.objects.sources import foreign
from radfed.imaging.unwarned import unwarned


def test_a_cut_short_object_is_noticed_while_another_thread_reads() -> None:
    other_is_in, other_may_end, object_is_open, other_ended = (threading.Event() for _ in range(4))
    found: list[Exception] = []

    def reads_quietly() -> None:
        with unwarned():
            other_is_in.set()
            other_may_end.wait(10)

    def reads_an_object() -> None:
        try:
            with foreign():
                object_is_open.set()
                other_ended.wait(10)
                warnings.warn("Unexpected end of file", stacklevel=1)
        except Exception as error:
            found.append(error)

    other = threading.Thread(target=reads_quietly)
    other.start()
    other_is_in.wait(10)
    reader = threading.Thread(target=reads_an_object)
    reader.start()
    object_is_open.wait(0.2)  # without a lock it is now, with the other's filters as the ones to bring back
    other_may_end.set()
    other.join()
    other_ended.set()
    reader.join()
    [error] = found
    assert isinstance(error, DataError)
    assert error.reason == "unreadable"


def test_warnings_are_heard_where_they_are_asked_for_and_only_there() -> None:
    with unwarned(heard=True) as heard:
        warnings.warn("outside", stacklevel=1)
        with unwarned() as silent:
            warnings.warn("inside", stacklevel=1)
        warnings.warn("outside again", stacklevel=1)
    assert [str(one.message) for one in heard] == ["outside", "outside again"]
    assert silent == []
    with pytest.raises(UserWarning, match="after"):
        warnings.warn("after", stacklevel=1)
