"""What brings the viewer of the workbench: it takes the right file only, and a build without npm goes on."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def npm(folder: Path, script: str) -> str:
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "npm").chmod(0o755)
    return str(folder)


def test_what_is_there_is_not_fetched_again(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.setenv("PATH", "")
    assert hook.vendor(ROOT) == ROOT / hook.VENDOR / "niivue.js"


def test_without_npm_it_is_unavailable(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.setenv("PATH", "")
    with pytest.raises(hook.UnavailableError, match="npm is not on the PATH"):
        hook.vendor(tmp_path)


def test_npm_s_own_reason_is_told(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.setenv("PATH", npm(tmp_path / "bin", "echo 'network is unreachable' >&2; exit 1"))
    with pytest.raises(hook.UnavailableError, match="network is unreachable"):
        hook.vendor(tmp_path)


def test_another_package_is_refused(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    monkeypatch.setenv("PATH", npm(tmp_path / "bin", "echo evil > niivue.tgz"))
    with pytest.raises(ValueError, match="wrong hash"):
        hook.vendor(tmp_path)
    assert not list(tmp_path.rglob("niivue.js"))


def test_a_changed_file_is_replaced(hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    viewer = tmp_path / hook.VENDOR / "niivue.js"
    viewer.parent.mkdir(parents=True)
    viewer.write_text("changed", encoding="utf-8")
    monkeypatch.setattr(hook, "_pack", lambda *_: tmp_path / "package.tgz")
    monkeypatch.setattr(hook, "_member", lambda _: b"the viewer")
    monkeypatch.setattr(hook.shutil, "which", lambda _: "/usr/bin/npm")
    assert hook.vendor(tmp_path).read_bytes() == b"the viewer"
    assert "BSD 2-Clause" in viewer.with_name("LICENCE.txt").read_text("utf-8")
