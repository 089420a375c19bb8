"""Sealing: the list of a release's files and their digests, written and held against the files."""

import os
import secrets
from pathlib import Path

from radfed.errors import GateError
from radfed.inference.checksums import SUMS, file_digest, read_sums


def release_files(release: Path) -> dict[str, Path]:
    """Every entry of a release that is no folder, by relative POSIX path, but ``SHA256SUMS``. Links stay links."""
    found = {}
    for folder, folders, names in os.walk(release, followlinks=False):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *links):
            path = Path(folder, name)
            found[path.relative_to(release).as_posix()] = path
    found.pop(SUMS, None)
    return dict(sorted(found.items()))


def seal(release: Path) -> None:
    """Write ``SHA256SUMS`` anew, as ``sha256sum -c`` reads it.

    Raises:
        GateError: something in the release is no plain file.
    """
    files = release_files(release)
    odd = [name for name, path in files.items() if path.is_symlink() or not path.is_file()]
    if odd:
        raise GateError(f"a release holds plain files only, got {', '.join(odd)}; replace links by what they point to")
    text = "".join(f"{file_digest(path)}  {name}\n" for name, path in files.items())
    beside = release / f".{SUMS}.{secrets.token_hex(4)}"
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, release / SUMS)
    finally:
        beside.unlink(missing_ok=True)


def check_sums(release: Path) -> None:
    """Refuse a release whose files are not as its list says.

    Raises:
        GateError: a file is missing, extra or changed.
        InvalidInputError: the list cannot be read.
    """
    listed, there = read_sums(release), release_files(release)
    wrong = sorted(listed.keys() ^ there.keys())
    wrong += [name for name, path in there.items() if name in listed and file_digest(path) != listed[name]]
    if wrong:
        raise GateError(
            f"the release is not as its {SUMS} says ({', '.join(wrong[:5])}); get it again, or build it again"
        )
