"""What logs keep to themselves, and what a heartbeat's answer leaves on disk."""

import json
import logging
import logging.config
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ProcessType, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.workspace import Workspace
from nvflare.fuel.f3.cellnet.core_cell import make_reply
from nvflare.fuel.f3.cellnet.defs import ReturnCode
from nvflare.fuel.f3.message import Message

from radfed.federation.health import UnhealthyError, check_site
from radfed.federation.health import main as health
from radfed.federation.monitoring import HeartbeatFile, LogScrubber

HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wrote /srv/DOE^JOHN/ct.nii.gz", "wrote <path>"),
        ("/srv/x: cannot be read", "<path>: cannot be read"),
        ("cannot open '/data/Mrs Doe/ct 1.nii' (ENOENT)", "cannot open '<path>' (ENOENT)"),
        ('cannot open "/data/it\'s/ct.nii", sorry', 'cannot open "<path>", sorry'),
        ("read /data/Mrs Doe/ct.nii in 3 s", "read <path> in 3 s"),
        ("a=/x/y, b=(/z/w)", "a=<path>, b=(<path>)"),
        ("PosixPath('/srv/scans')", "PosixPath('<path>')"),
        ("in ~/scans/x and ~root/y", "in <path> and ~root/y"),
        (r"C:\Users\doe\scan.dcm is gone", "<path> is gone"),
        (r"\\fileserver\share\doe.dcm is gone", "<path> is gone"),
        ("file:///srv/doe/x.dcm", "<path>"),
        ("connected to tcp://pacs.hospital.org:11112 now", "connected to tcp://<host>:11112 now"),
        ("GET https://[2001:db8::1]:8443/x", "GET https://<host>:8443/x"),
        ("site-a@192.0.2.17 joined", "site-a@<host> joined"),
        ("[CN00002 127.0.0.1:45026 => 10.1.2.3:20443]", "[CN00002 127.0.0.1:45026 => <host>:20443]"),
        ("from 2001:db8::17 at 02:53:15", "from <host> at 02:53:15"),
        ("study 1.2.840.113619.2.55.3.604688119 of 3", "study <uid> of 3"),
        (f"on {HOST} and on {HOST}.hospital.org", "on <host> and on <host>"),
        (f"on {HOST.upper()}", "on <host>"),
    ],
)
def test_identifiers_are_taken_out(text: str, expected: str) -> None:
    assert LogScrubber().scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "round 3/10 and/or 1/2 of text/plain at 12.5 MB/s",
        "nvflare 2.9.0, radfed 0.1.0, class nvflare.private.fed.client.client_engine",
        "2026-11-23 02:53:15,077 [identity=site-a, run=?, peer=x]: task train",
        "case 3f2a91: quarantined (gap)",
        "127.0.0.1 and ::1 are this machine, localhost too",
        "config/radfed.json and ./log.txt are relative",
        "ratio 1 / 3",
    ],
)
def test_what_identifies_nobody_stays(text: str) -> None:
    assert LogScrubber().scrub(text) == text


PART = st.text(st.characters(categories=("L", "N"), include_characters="^_-."), min_size=1, max_size=12).filter(
    lambda part: part.strip(".") != ""
)


@given(parts=st.lists(PART, min_size=1, max_size=5), frame=st.sampled_from(["{}", "read {} now", "x={}, y", "'{}'"]))
def test_no_part_of_any_absolute_path_stays(parts: list[str], frame: str) -> None:
    marked = [f"q7{part}" for part in parts]
    assert "q7" not in LogScrubber().scrub(frame.format("/" + "/".join(marked)))


def test_words_of_the_site_are_taken_out_too() -> None:
    assert LogScrubber(words=["charite"]).scrub("at ws7.charite.de and charite") == "at ws7.<host> and <host>"


def test_the_module_in_a_traceback_stays_but_not_where_python_is_installed() -> None:
    shown = LogScrubber().scrub(f'File "{logging.__file__}", line 3, in handle')
    assert shown == 'File "<path>/logging/__init__.py", line 3, in handle'


def record(message: object, *args: object) -> logging.LogRecord:
    return logging.LogRecord("radfed", logging.ERROR, "/srv/doe/x.py", 3, message, args, None)


def test_arguments_are_taken_into_the_message_before_it_is_scrubbed() -> None:
    made = record("read %s in %d s", Path("/srv/DOE^JOHN"), 3)
    assert LogScrubber().filter(made)
    assert (made.getMessage(), made.pathname) == ("read <path> in 3 s", "x.py")


def test_arguments_that_do_not_fit_are_scrubbed_as_well() -> None:
    made = record("read %d", "/srv/DOE^JOHN")
    assert LogScrubber().filter(made)
    assert "DOE" not in made.getMessage()


def test_a_traceback_is_scrubbed_with_its_message_and_its_source_lines() -> None:
    made = record("failed")
    try:
        raise FileNotFoundError(2, "No such file", "/srv/DOE^JOHN/ct.nii")
    except FileNotFoundError:
        made.exc_info = sys.exc_info()
    LogScrubber().filter(made)
    text = logging.Formatter().format(made)
    assert "FileNotFoundError: [Errno 2] No such file: '<path>'" in text
    assert str(Path(__file__).parent) not in text


def test_handlers_of_flares_own_kind_write_no_identifier(tmp_path: Path) -> None:
    formatters = "nvflare.fuel.utils.log_utils."
    handler = {"class": "logging.FileHandler", "delay": True, "filters": ["scrub"]}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": f"{formatters}BaseFormatter"},
            "json": {"()": f"{formatters}JsonFormatter", "fmt": "%(asctime)s - %(fullName)s - %(message)s"},
        },
        "filters": {"scrub": {"()": "radfed.federation.monitoring.LogScrubber"}},
        "handlers": {
            "text": handler | {"formatter": "line", "filename": str(tmp_path / "log.txt")},
            "json": handler | {"formatter": "json", "filename": str(tmp_path / "log.json")},
        },
        "loggers": {"radfed.test": {"level": "INFO", "handlers": ["text", "json"], "propagate": False}},
    }
    logging.config.dictConfig(config)
    logger, missing = logging.getLogger("radfed.test"), tmp_path / "DOE^JOHN" / "missing"
    try:
        logger.info("study of %s at %s on %s", "/srv/DOE^JOHN", "http://pacs.hospital.org/x", HOST)
        try:
            missing.read_bytes()
        except OSError:
            logger.exception("cannot read")
    finally:
        for open_handler in list(logger.handlers):
            open_handler.close()
            logger.removeHandler(open_handler)
    text, lines = (tmp_path / "log.txt").read_text(), (tmp_path / "log.json").read_text()
    for content in (text, lines):
        assert not [word for word in ("DOE", "hospital", str(tmp_path)) if word in content]
        assert "study of <path> at http://<host>/x on <host>" in content
    assert [json.loads(line)["fullName"] for line in lines.splitlines()] == ["radfed.test"] * 2
    assert "FileNotFoundError" in text


class Cell:
    """Keeps the filter that a component adds, as FLARE's cell does."""

    def __init__(self) -> None:
        self.core_cell = self
        self.filters: dict[tuple[str, str], Callable[[Message], None]] = {}

    def add_incoming_reply_filter(self, channel: str, topic: str, cb: Callable[[Message], None]) -> None:
        self.filters[channel, topic] = cb

    def answer(self, code: str) -> None:
        self.filters["task", "heart_beat"](make_reply(code, "", None))


class Engine:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def get_cell(self) -> Cell:
        return self._cell


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    for folder in ("startup", "local"):
        (tmp_path / folder).mkdir()
    (tmp_path / "startup" / "fed_client.json").write_text("{}")
    return tmp_path


def context(kit: Path, cell: Cell, process: str = ProcessType.CLIENT_PARENT) -> FLContext:
    made = FLContext()
    made.set_prop(ReservedKey.PROCESS_TYPE, process, private=True)
    made.set_prop(ReservedKey.ENGINE, Engine(cell), private=True)
    made.set_prop(FLContextKey.WORKSPACE_OBJECT, Workspace(str(kit), "site-a"), private=True)
    return made


def started(kit: Path) -> tuple[HeartbeatFile, Cell, FLContext]:
    component, cell = HeartbeatFile(), Cell()
    there = context(kit, cell)
    component.handle_event(EventType.SYSTEM_BOOTSTRAP, there)
    component.handle_event(EventType.SYSTEM_START, there)
    return component, cell, there


def test_a_client_is_healthy_only_once_a_heartbeat_was_answered(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, cell, _ = started(kit)
    assert health([str(kit)]) == 1
    cell.answer(ReturnCode.OK)
    assert health([str(kit)]) == 0
    captured = capsys.readouterr()
    assert "not registered" in captured.err
    assert "answered 0 s ago" in captured.out


def test_a_client_that_the_server_does_not_know_any_more_is_not_healthy(kit: Path) -> None:
    _, cell, _ = started(kit)
    cell.answer(ReturnCode.OK)
    cell.answer(ReturnCode.UNAUTHENTICATED)
    with pytest.raises(UnhealthyError, match="not registered"):
        check_site(kit)


def test_flares_event_after_a_heartbeat_proves_nothing(kit: Path) -> None:
    component, _, there = started(kit)
    component.handle_event(EventType.AFTER_CLIENT_HEARTBEAT, there)
    with pytest.raises(UnhealthyError):
        check_site(kit)


def test_what_an_earlier_run_left_does_not_count(kit: Path) -> None:
    _, cell, _ = started(kit)
    cell.answer(ReturnCode.OK)
    started(kit)
    with pytest.raises(UnhealthyError, match="not registered"):
        check_site(kit)


def test_a_client_that_was_shut_down_is_not_healthy(kit: Path) -> None:
    component, cell, there = started(kit)
    cell.answer(ReturnCode.OK)
    component.handle_event(EventType.SYSTEM_END, there)
    with pytest.raises(UnhealthyError, match="not registered"):
        check_site(kit)


@pytest.mark.parametrize("offset", [61.0, 1e9, -61.0])
def test_an_answer_that_is_too_old_or_in_the_future_does_not_count(kit: Path, offset: float) -> None:
    _, cell, _ = started(kit)
    cell.answer(ReturnCode.OK)
    with pytest.raises(UnhealthyError, match="s old"):
        check_site(kit, now=time.time() + offset)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"time": "x", "registered": true}', '{"time": 1}'])
def test_a_file_that_says_nothing_does_not_count(kit: Path, content: str) -> None:
    (kit / "health.json").write_text(content)
    with pytest.raises(UnhealthyError, match="no heartbeat"):
        check_site(kit)


def test_the_process_of_a_job_writes_nothing(kit: Path) -> None:
    component = HeartbeatFile()
    for event in (EventType.SYSTEM_BOOTSTRAP, EventType.SYSTEM_START, EventType.SYSTEM_END):
        component.handle_event(event, context(kit, Cell(), ProcessType.CLIENT_JOB))
    assert not (kit / "health.json").exists()


def test_a_disk_that_cannot_be_written_ends_nothing(kit: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, cell, _ = started(kit)
    (kit / f".health.json.{os.getpid()}.partial").mkdir()
    cell.answer(ReturnCode.OK)
    assert "health.json cannot be written: IsADirectoryError" in caplog.text
    with pytest.raises(UnhealthyError):
        check_site(kit)


def test_a_folder_that_is_no_kit_is_invalid_input(tmp_path: Path) -> None:
    assert health([str(tmp_path)]) == 2
