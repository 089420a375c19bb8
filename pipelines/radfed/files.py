"""Files that are there whole or not at all: written beside their place, then renamed."""

import fcntl
import os
from pathlib import Path
from typing import TextIO


def put_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file; a crash leaves the old one or the new one. An existing file keeps its mode.

    Args:
        path: where to; its folder must be there.
        content: all of it.
        durable: force it to disk before it takes its place, so that a power cut cannot empty it either.

    Raises:
        OSError: the disk did not take it; the old file stands.
    """
    # The process's number: two that write the same file must not share what lies beside it.
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666
    # Made with the mode that it will have, so that what is secret is never open to others, not for a moment.
    with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if path.exists():
        beside.chmod(mode)  # the process's mask may have taken some of it away
    os.replace(beside, path)


def put_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a text file in UTF-8; see ``put_bytes``."""
    put_bytes(path, text.encode(), durable=durable)


def sync(path: Path) -> None:
    """Force a file's content, or which names a folder holds, to disk.

    Raises:
        OSError: the disk did not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, *content: bytes) -> None:
    """Write a file that only its owner may read, and force it to disk.

    Raises:
        FileExistsError: it is there already.
        OSError: the disk did not take it.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, and force both folders to disk; the target's folder comes first."""
    os.replace(source, target)
    sync(target.parent)
    if source.parent != target.parent:
        sync(source.parent)


def hold(path: Path, taken: Exception) -> TextIO:
    """Hold a lock file until it is closed, or the process ends.

    Args:
        path: made if it is not there.
        taken: raised where another process holds it.

    Raises:
        Exception: ``taken``.
    """
    guard = path.open("w", encoding="ascii")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise taken from error
    return guard
