"""Files that are there whole or not at all, and are never open to more people than the one that they replace."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from radfed.files import put_bytes


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Modes of what is forced to disk, as its content has just been written, where all may read by default."""
    seen: list[int] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    usual = os.umask(0o022)
    yield seen
    os.umask(usual)


@pytest.mark.parametrize(("mode", "beside"), [(0o600, 0o600), (0o640, 0o640), (0o664, 0o644), (None, 0o644)])
def test_a_file_keeps_its_mode(tmp_path: Path, modes: list[int], mode: int | None, beside: int) -> None:
    path = tmp_path / "file"
    if mode is not None:
        path.write_bytes(b"old")
        path.chmod(mode)
    put_bytes(path, b"new", durable=True)
    assert modes == [beside]
    assert path.stat().st_mode & 0o777 == (mode or 0o644)
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
