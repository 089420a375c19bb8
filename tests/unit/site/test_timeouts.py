import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radfed.errors import InvalidInputError
from radfed.site.timeout_files import LINK, RESOURCES, overruled, write_timeouts
from radfed.site.timeouts import Place, Timeouts, derive

MBIT = 1e6 / 8


def at(speed: float, model: int, **more: float) -> Timeouts:
    return derive(
        round_s=60, evaluation_s=10, upload_bytes_per_s=speed, download_bytes_per_s=speed, model_bytes=model, **more
    )


def seconds(timeouts: Timeouts, name: str) -> float:
    return next(timeout.seconds for timeout in timeouts.site if timeout.name == name)


def test_a_fast_link_and_a_small_model_keep_nearly_all_of_flares_defaults() -> None:
    timeouts = at(1000 * MBIT, 1_000_000)
    changed = {timeout.name for timeout in timeouts.site if timeout.seconds != timeout.default}
    # Only what a cut of the network would end.
    assert changed == {"streaming_ack_progress_timeout", "streaming_send_timeout", "max_runner_sync_timeout"}


def test_the_whole_upload_fits_into_the_time_that_flare_waits_for_its_answer() -> None:
    # The federation whose 758 MB took longer than FLARE's 300 s waits.
    model, speed = 758_000_000, 2 * MBIT
    assert seconds(at(speed, model), "communication_timeout") >= 4 * model / speed
    assert seconds(at(speed, model), "communication_timeout") == 12250


def test_a_receipt_for_4_mib_may_take_its_time() -> None:
    assert seconds(at(0.5 * MBIT, 10**6), "streaming_ack_progress_timeout") >= 4 * 4 * 1024**2 / (0.5 * MBIT)


def test_advice_knows_the_whole_round() -> None:
    advice = {timeout.name: timeout.seconds for timeout in at(8 * MBIT, 10**8).advice}
    busy = 60 + 10 + 2 * 10**8 / 10**6
    assert advice["round_deadline"] >= 2 * busy
    assert advice["grace"] == 120
    # A dead site is noticed sooner than by default, but not within a cut of the network.
    assert 120 < advice["heart_beat_timeout"] < 600


@given(
    speed=st.floats(1e3, 1e9), slower=st.floats(0.05, 1.0), model=st.integers(1, 10**10), latency=st.floats(0.0, 2.0)
)
def test_slower_links_never_shorten_a_timeout(speed: float, slower: float, model: int, latency: float) -> None:
    fast, slow = at(speed, model), at(speed * slower, model, latency_s=latency)
    for before, after in zip((*fast.site, *fast.advice), (*slow.site, *slow.advice), strict=True):
        assert before.name == after.name
        assert after.seconds >= before.seconds
    assert all(timeout.seconds >= timeout.default for timeout in slow.site)


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_link_without_speed_has_no_timeouts(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        at(speed, 1)
    with pytest.raises(ValueError, match="negative"):
        at(1.0, 1, outage_s=-1.0)


def test_writing_twice_changes_nothing_and_other_keys_stay(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / LINK).write_text(json.dumps({"internal": {"scheme": "tcp"}, "streaming_read_timeout": 7}))
    mine = {"client": {"note": "ours"}, "components": [{"id": "other", "path": "a.B", "args": {}}]}
    (tmp_path / RESOURCES).write_text(json.dumps(mine))
    timeouts = at(1 * MBIT, 10**8)
    assert {path.name for path in write_timeouts(tmp_path, timeouts)} == {"radfed__resources.json", "comm_config.json"}
    assert write_timeouts(tmp_path, timeouts) == ()
    link, resources = (json.loads((tmp_path / name).read_text()) for name in (LINK, RESOURCES))
    assert link["internal"] == {"scheme": "tcp"}
    assert link["streaming_read_timeout"] == 300
    assert resources["client"]["note"] == "ours"
    assert resources["client"]["communication_timeout"] == timeouts.of(Place.CLIENT)["communication_timeout"]
    assert [component["id"] for component in resources["components"]] == ["other", "site_timeouts"]


def test_what_the_site_set_shorter_by_hand_is_named(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    timeouts = at(1 * MBIT, 10**8)
    assert overruled(tmp_path, timeouts) == {}
    by_hand = {"client": {"communication_timeout": 30, "maint_msg_timeout": 9999}}
    (tmp_path / "local" / "resources.json").write_text(json.dumps(by_hand))
    assert overruled(tmp_path, timeouts) == {"communication_timeout": 30}


def test_a_broken_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / LINK).write_text("[1]")
    with pytest.raises(InvalidInputError, match="must be a JSON object"):
        write_timeouts(tmp_path, at(MBIT, 1))
    assert (tmp_path / LINK).read_text() == "[1]"
