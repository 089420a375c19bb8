"""What the federation tests rely on: a search that finds, hooks that wait, verdicts that see what is false."""

import base64
import gzip
import io
import sys
import threading
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.integration import federation_hook
from tests.integration.federation_hooks import Hooks, arm, disarm, wait_held
from tests.integration.federation_kills import CELLS, STEPS, Cell, Ended, Moment, calls_before, verdict
from tests.integration.federation_search import forms, search
from tools.kill_matrix import BEGIN, END, place, table

PLANTED = {"name": {"Quillfeather"}}


def _zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"xxQuillfeatherxx",
        "Quillfeather".encode("utf-16-le"),
        "Quillfeather".encode("utf-16-be"),
        b"Quillfeather".hex().encode(),
        *(base64.b64encode(b"_" * before + b"Quillfeather" + b"_" * 7) for before in range(4)),
        b"head" + _zipped(b"a Quillfeather in a zip") + b"tail",
        b"head" + gzip.compress(b"a Quillfeather in gzip", mtime=0) + b"tail",
        b"head" + zlib.compress(b"a Quillfeather in zlib"),
        _zipped(b"in" + gzip.compress(base64.b64encode(b"two Quillfeather deep"), mtime=0)),
    ],
)
def test_a_planted_string_is_found_however_it_is_written(data: bytes) -> None:
    assert list(search("here", data, PLANTED))


def test_nothing_is_found_where_nothing_was_planted() -> None:
    noise = np.random.default_rng(0).bytes(200_000)
    assert not list(search("here", noise + b"Quillfeathe", PLANTED))


def test_no_form_is_so_short_that_chance_writes_it() -> None:
    assert min(len(form) for form in forms("Ulrich").values()) >= 6


def test_a_held_call_waits_for_its_turn_and_for_the_test(tmp_path: Path) -> None:
    done: list[int] = []
    held = federation_hook.hold(tmp_path, "f", done.append)
    held(0)
    arm(tmp_path, "f", after=1)
    held(1)
    caller = threading.Thread(target=held, args=(2,))
    caller.start()
    wait_held(tmp_path, "f", 5)
    assert done == [0, 1]
    disarm(tmp_path, "f")
    caller.join(5)
    held(3)
    assert done == [0, 1, 2, 3]


def test_modules_are_wrapped_when_they_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hook_target.py").write_text(
        "def work(x):\n    return x\nclass Thing:\n    def go(self):\n        return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    folder = Hooks(holds={"go": "hook_target:Thing.go"}, skips=["hook_target:work"]).write(tmp_path / "hooks")
    federation_hook.install(folder)
    target: ModuleType = __import__("hook_target")
    monkeypatch.delitem(sys.modules, "hook_target")
    assert (target.work(5), target.Thing().go()) == ("", 1)
    arm(folder, "go")
    caller = threading.Thread(target=target.Thing().go)
    caller.start()
    wait_held(folder, "go", 5)
    disarm(folder, "go")
    caller.join(5)
    assert not caller.is_alive()


@pytest.mark.parametrize("how", ["nan", "shape", "scale"])
def test_weights_are_spoilt_as_asked(how: str) -> None:
    params = {"b": np.ones(3, np.float32), "a": np.full((2, 2), 2, np.float32), "n": np.array(7)}
    bad = federation_hook.spoil(how, params)
    assert params["a"].max() == 2, "the original is left alone"
    assert bad["n"] == 7
    match how:
        case "nan":
            assert np.isnan(bad["a"]).sum() == 1
        case "shape":
            assert bad["a"].shape == (2, 2, 2)
        case "scale":
            assert bad["a"].max() == 2000
            assert bad["b"].max() == 1000


def _ended(**changes: Any) -> Ended:  # noqa: ANN401 - fields of any kind
    return replace(Ended("COMPLETED", 2, 60.0, None, "aa", 0.70, (), ()), **changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"false": ("a lie",)}, "a lie"),
        ({"outcome": "FAILED", "dice": None, "digest": None}, "failed"),
        ({"outcome": "DEGRADED"}, "nobody is named"),
        ({"digest": "bb"}, "another model"),
        ({"dice": 0.72, "outcome": "DEGRADED", "missing": ("valley",)}, "0.7200"),
        ({"seconds": 121.0}, "61 s later"),
    ],
)
def test_a_broken_promise_is_seen(changes: dict[str, Any], word: str) -> None:
    assert verdict(_ended(after=10.0), _ended()) == []
    assert word in " ".join(verdict(_ended(**changes), _ended()))


def test_the_matrix_has_every_process_at_every_moment_and_kills_within_the_second_round() -> None:
    assert len({(cell.role, cell.moment) for cell in CELLS}) == 25
    assert [calls_before(moment, tensors=10) for moment in Moment] == [0, STEPS + STEPS // 2, 15, 1, 1]


def test_the_table_names_every_cell_and_goes_between_the_markers() -> None:
    results: dict[Cell, Ended | str] = {CELLS[0]: _ended(links=3, seconds=80.0), CELLS[1]: "no end within 240 s"}
    text = table(results, _ended())
    assert "| trainer | before training | COMPLETED | 3 | 20 | +0.0000 | yes | kept |" in text
    assert "| client job | before training | did not end |" in text
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nmore\n"
    assert place(page, "new") == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nmore\n"
    with pytest.raises(ValueError, match="once each"):
        place("# Title\n", "new")
