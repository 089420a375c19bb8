import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from radfed import chain
from radfed.chain import START, Chain, Link, Torn, hash_of
from radfed.cli.main import app
from radfed.errors import GateError
from radfed.site.egress import HEAD_FILE, LOG_FILE, Message, Sent, append, verify

OLD_LINE = (
    '{"campaign":"c","job":"j","round":0,"task":"train","status":"OK","digest":"ab","tensors":2,"bytes":1'
    '00,"metrics":{},"filters":["a"],"event":"sent","index":0,"time":"2026-11-23T12:59:54.343+00:00","pre'
    'vious":"0000000000000000000000000000000000000000000000000000000000000000","hash":"045dea7b0d5cbd2845'
    'e73aa52a74af014c72ccdf52ebc6359334bf5284749886"}'
)
OLD_HEAD = '{"index": 0, "hash": "045dea7b0d5cbd2845e73aa52a74af014c72ccdf52ebc6359334bf5284749886"}'

Change = Callable[[list[bytes]], list[bytes]]


def message(number: int) -> Message:
    return Message(
        campaign="c", job="j", round=number, task="train", digest=f"{number:064x}", tensors=2, bytes=100 + number
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for number in range(4):
        append(tmp_path, message(number))
    return tmp_path


def lines(site: Path) -> list[bytes]:
    return (site / LOG_FILE).read_bytes().splitlines(keepends=True)


def rewrite(site: Path, change: Change) -> None:
    (site / LOG_FILE).write_bytes(b"".join(change(lines(site))))


def test_a_message_is_read_back_as_it_left(site: Path) -> None:
    verdict = verify(site)
    assert (verdict.problems, verdict.notes) == ((), ())
    sent = [line for line in verdict.lines if isinstance(line, Sent)]
    assert [line.round for line in sent] == [0, 1, 2, 3]
    assert [line.index for line in sent] == [0, 1, 2, 3]
    assert sent[0].previous == START
    assert [line.previous for line in sent[1:]] == [line.hash for line in sent[:-1]]


def test_a_log_of_an_earlier_version_is_read_and_gone_on_with(tmp_path: Path) -> None:
    # Written by the version before chains had a module of their own: format and hash must stay.
    (tmp_path / LOG_FILE).write_text(OLD_LINE + "\n")
    (tmp_path / HEAD_FILE).write_text(OLD_HEAD + "\n")
    append(tmp_path, message(1))
    verdict = verify(tmp_path)
    assert (len(verdict.lines), verdict.problems, verdict.notes) == (2, (), ())
    first, second = lines(tmp_path)
    assert first.decode() == OLD_LINE + "\n"
    assert list(json.loads(first)) == list(json.loads(second))


def test_log_and_head_are_for_their_owner_alone(site: Path) -> None:
    assert [stat.S_IMODE((site / name).stat().st_mode) for name in (LOG_FILE, HEAD_FILE)] == [0o600, 0o600]


def test_a_site_from_which_nothing_left_has_nothing_to_hide(tmp_path: Path) -> None:
    assert verify(tmp_path) == chain.Verdict[Sent]((), (), ())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: [found[0], found[1].replace(b'"bytes":101', b'"bytes":1'), *found[2:]], "line 2: was changed"),
        (lambda found: [found[0].replace(b'"round":0', b'"round":9'), *found[1:]], "line 1: was changed"),
        (lambda found: found[1:], "line 1: does not follow"),
        (lambda found: [found[0], *found[2:]], "line 2: does not follow"),
        (lambda found: [found[1], found[0], *found[2:]], "line 1: does not follow"),
        (lambda found: [found[0], found[0], *found[1:]], "line 2: does not follow"),
        (lambda found: found[:-1], "lines were cut off"),
        (lambda found: [], "lines were cut off"),
        (lambda found: [found[0], b"garbage\n", *found[1:]], "line 3: before it stands text that is no line"),
        (lambda found: [found[0], found[1][:40] + b"\n", *found[2:]], "no line and that no crash explains"),
        (lambda found: [*found[:-1], found[-1][:40]], "lines were cut off"),
    ],
)
def test_every_way_to_tamper_with_the_log_is_found(site: Path, change: Change, says: str) -> None:
    rewrite(site, change)
    assert any(says in problem for problem in verify(site).problems)


def test_a_line_edited_with_a_new_hash_of_its_own_breaks_the_chain(site: Path) -> None:
    def forge(found: list[bytes]) -> list[bytes]:
        line = Sent.model_validate_json(found[1]).model_copy(update={"bytes": 0})
        sealed = line.model_copy(update={"hash": hash_of(line)})
        return [found[0], sealed.model_dump_json().encode() + b"\n", *found[2:]]

    rewrite(site, forge)
    assert any("line 3: does not follow" in problem for problem in verify(site).problems)


def test_a_whole_chain_written_anew_does_not_fit_the_head(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for number in range(4):
        append(other, message(number).model_copy(update={"bytes": 1}))
    (site / LOG_FILE).write_bytes((other / LOG_FILE).read_bytes())
    assert any("is not the one" in problem for problem in verify(site).problems)


def test_lines_added_behind_the_head_are_found(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in (LOG_FILE, HEAD_FILE):
        (other / name).write_bytes((site / name).read_bytes())
    for number in range(4, 6):
        append(other, message(number))
    (site / LOG_FILE).write_bytes((other / LOG_FILE).read_bytes())
    assert any("were added" in problem for problem in verify(site).problems)


@pytest.mark.parametrize("change", [lambda found: found[:-1], lambda found: [*found[:-1], b"{}\n"], lambda found: []])
def test_nothing_is_added_to_a_log_whose_end_was_changed(site: Path, change: Change) -> None:
    rewrite(site, change)
    before = lines(site)
    with pytest.raises(GateError, match="nothing may leave"):
        append(site, message(4))
    assert lines(site) == before


def test_nothing_is_added_to_a_log_that_lost_its_head(site: Path) -> None:
    (site / HEAD_FILE).unlink()
    with pytest.raises(GateError, match="nothing may leave"):
        append(site, message(4))
    assert verify(site).problems


class _PowerCutError(Exception):
    pass


def crash_while_writing(site: Path, number: int, kept: int) -> int:
    """Add a line and cut the power before it is pinned, when only its first bytes are on disk; the line's length."""
    log = site / LOG_FILE
    size = log.stat().st_size if log.exists() else 0
    pin = Chain._pin

    def cut(this: Chain[Sent], line: Link) -> None:
        if isinstance(line, Sent) and line.round == number:
            raise _PowerCutError
        pin(this, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chain, "_pin", cut)
        with pytest.raises(_PowerCutError):
            append(site, message(number))
    content = log.read_bytes()
    log.write_bytes(content[: size + kept])
    return len(content) - size


def test_a_crash_anywhere_in_a_line_is_survived_and_told(tmp_path: Path) -> None:
    length = crash_while_writing(_fresh(tmp_path / "whole"), 1, 10**6)
    for kept in (*range(0, 60, 5), *range(60, length - 4, 37), *range(length - 4, length + 1)):
        site = _fresh(tmp_path / f"kept-{kept}")
        crash_while_writing(site, 1, kept)
        at_once = verify(site)
        assert at_once.problems == (), kept
        assert bool(at_once.notes) is (kept > 0), kept
        append(site, message(2))
        verdict = verify(site)
        assert verdict.problems == (), kept
        # Cut before its last byte it is recorded as cut; without its line end alone, it is a line too many.
        assert [type(line) for line in verdict.lines] == (
            [Sent, Sent] if kept == 0 else [Sent, Torn, Sent] if kept < length - 1 else [Sent, Sent, Sent]
        ), kept


def _fresh(site: Path) -> Path:
    site.mkdir()
    append(site, message(0))
    return site


def test_a_crash_at_the_very_first_line_and_again_at_its_repair_is_survived(tmp_path: Path) -> None:
    for kept in (1, 40, 10**6):
        for again in (1, 2, 150, 400, 10**6):
            site = tmp_path / f"{kept}-{again}"
            site.mkdir()
            crash_while_writing(site, 0, kept)
            crash_while_writing(site, 1, again)
            assert verify(site).problems == (), (kept, again)
            append(site, message(2))
            verdict = verify(site)
            assert verdict.problems == (), (kept, again)
            assert isinstance(verdict.lines[-1], Sent)
            assert verdict.lines[-1].round == 2


def test_a_log_longer_than_what_is_read_of_its_end_goes_on(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_TAIL", 1500)
    for number in range(4, 20):
        append(site, message(number))
    verdict = verify(site)
    assert (len(verdict.lines), verdict.problems) == (20, ())


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).mkdir()
    with pytest.raises(OSError, match="directory"):
        append(tmp_path, message(0))


def _append_many(site: Path, first: int) -> None:
    for number in range(first, first + 20):
        append(site, message(number))


def test_jobs_at_the_same_time_share_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(tmp_path, first)) for first in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    verdict = verify(tmp_path)
    assert verdict.problems == ()
    rounds = sorted(line.round or 0 for line in verdict.lines if isinstance(line, Sent))
    assert rounds == [*range(20), *range(100, 120), *range(200, 220)]


def test_the_command_lists_counts_and_verifies(site: Path) -> None:
    (site / "site.yaml").write_text("name: a\n")
    done = CliRunner().invoke(app, ["site", "egress", str(site), "--verify", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["ok"], found["count"], found["bytes"]) == (True, 4, 406)
    assert found["messages"][0]["digest"] == f"{0:064x}"
    rewrite(site, lambda kept: kept[1:])
    assert CliRunner().invoke(app, ["site", "egress", str(site)]).exit_code == 0
    done = CliRunner().invoke(app, ["site", "egress", str(site), "--verify", "--json"])
    assert done.exit_code == 3
    assert json.loads(done.stdout)["ok"] is False
    assert "problem:" in done.stderr
