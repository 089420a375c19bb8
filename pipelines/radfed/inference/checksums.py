"""SHA256SUMS: the list of a release's files and their digests, as ``sha256sum -c`` reads it."""

import hashlib
import re
from pathlib import Path, PurePosixPath

from radfed.errors import InvalidInputError

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(release: Path) -> dict[str, str]:
    """Digest by relative POSIX path.

    Raises:
        InvalidInputError: the list is missing or broken, or names a path twice or outside the release.
    """
    if not (release / SUMS).is_file():
        raise InvalidInputError(f"{SUMS}: cannot be read (missing, or no file); is this a release's folder?")
    try:
        text = (release / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{SUMS}: cannot be read ({type(error).__name__}); is this a release's folder?"
        ) from error
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise InvalidInputError(f"{SUMS} line {number}: must be '<sha256>  <path>', got {line!r:.80}")
        digest, name = match.groups()
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or path.as_posix() != name:
            raise InvalidInputError(f"{SUMS} line {number}: must name a file inside the release, got {name!r:.80}")
        if name in sums:
            raise InvalidInputError(f"{SUMS} line {number}: names {name!r:.80} a second time")
        sums[name] = digest
    return sums
