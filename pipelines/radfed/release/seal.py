"""Sealing: the list of a release's files and their digests, written and held against the files."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from radfed.errors import GateError
from radfed.inference.checksums import SUMS, file_digest, read_sums
from radfed.release.layout import SIGNATURE


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


def sealed_files(release: Path) -> dict[str, Path]:
    """Of ``release_files`` those that ``SHA256SUMS`` lists: all but the signature, which covers that list too."""
    return {name: path for name, path in release_files(release).items() if name != SIGNATURE}


def seal(release: Path) -> None:
    """Write ``SHA256SUMS`` anew, as ``sha256sum -c`` reads it; a signature, which no longer fits, is taken away.

    Raises:
        GateError: something in the release is no plain file.
    """
    files = sealed_files(release)
    odd = _odd(files)
    if odd:
        raise GateError(f"a release holds plain files only, got {', '.join(odd)}; replace links by what they point to")
    text = "".join(f"{file_digest(path)}  {name}\n" for name, path in files.items())
    (release / SIGNATURE).unlink(missing_ok=True)
    beside = release / f".{SUMS}.{secrets.token_hex(4)}"
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, release / SUMS)
    finally:
        beside.unlink(missing_ok=True)


def _odd(files: Mapping[str, Path]) -> list[str]:
    """Which are no plain files. A pipe, once opened, would be waited for without end."""
    return [name for name, path in files.items() if path.is_symlink() or not path.is_file()]


def check_sums(release: Path) -> None:
    """Refuse a release whose files are not as its list says.

    Raises:
        GateError: a file is missing, extra or changed.
        InvalidInputError: the list cannot be read.
    """
    listed, there = read_sums(release), sealed_files(release)
    wrong = sorted(listed.keys() ^ there.keys())
    odd = _odd(there)
    wrong += odd
    wrong += [n for n, path in there.items() if n in listed and n not in odd and file_digest(path) != listed[n]]
    if wrong:
        raise GateError(
            f"the release is not as its {SUMS} says ({', '.join(wrong[:5])}); get it again, or build it again"
        )
