"""A dataset is staged in a sibling folder and renamed: it is there whole, or not at all."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from radfed.dataset.layout import CASES, DATALIST, Case
from radfed.errors import InvalidInputError


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Give an empty folder beside ``out``, with ``images/`` and ``labels/``; whatever is left of it goes at the end."""
    # Fixed names, so that what a killed run left is mended by the next: its staging goes, the older dataset comes back.
    staged, older = out.with_name(f".{out.name}.staging"), _older(out)
    shutil.rmtree(staged, ignore_errors=True)
    if older.exists() and not out.exists():
        os.replace(older, out)
    shutil.rmtree(older, ignore_errors=True)
    for part in ("images", "labels"):
        (staged / part).mkdir(parents=True)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def remove_unlisted(staged: Path, cases: Sequence[Case]) -> None:
    """Delete what a worker that died while it wrote has left in ``images/`` and ``labels/``."""
    listed = {relative for case in cases for relative in case.files}
    for part in ("images", "labels"):
        for path in (staged / part).iterdir():
            if f"{part}/{path.name}" not in listed:
                path.unlink()


def replace(staged: Path, out: Path) -> None:
    """Put the staged dataset in place of ``out``; an older one comes back if that fails."""
    older = _older(out)
    if out.exists():
        os.replace(out, older)
    try:
        os.replace(staged, out)
    except OSError:
        if older.exists():
            os.replace(older, out)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _older(out: Path) -> Path:
    return out.with_name(f".{out.name}.older")


def check_places(source: Path, out: Path, pseudonyms: Path) -> None:
    """Refuse places that would overwrite the source, destroy a stranger's folder, or publish the map.

    Raises:
        InvalidInputError: with what to give instead.
    """
    if source.resolve() == out.resolve() or out.resolve() in source.resolve().parents:
        raise InvalidInputError(f"{out}: is or holds the source; give another place with --out")
    if pseudonyms.resolve().is_relative_to(out.resolve()):
        raise InvalidInputError(f"{pseudonyms}: the map of pseudonyms must lie outside the dataset")
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"{out}: is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not ((out / DATALIST).is_file() and (out / CASES).is_file()):
        raise InvalidInputError(f"{out}: holds something that is not a prepared dataset; give a new place with --out")
