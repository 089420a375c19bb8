"""Files that are there whole or not at all: written beside their place, then renamed."""

import os
from pathlib import Path


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
    with beside.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if path.exists():
        beside.chmod(path.stat().st_mode & 0o777)
    os.replace(beside, path)


def put_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write a text file in UTF-8; see ``put_bytes``."""
    put_bytes(path, text.encode(), durable=durable)
