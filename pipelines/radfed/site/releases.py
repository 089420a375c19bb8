"""The releases that a site has fetched: found by digest, since a job carries no model and names no path."""

import hashlib
from pathlib import Path

from radfed.errors import InvalidInputError
from radfed.inference.checksums import SUMS


class ReleaseMissingError(InvalidInputError):
    """The site has not fetched the release that a job asks about."""

    reason = "release_missing"


def sums_digest(release: Path) -> str:
    """SHA-256 of a release's ``SHA256SUMS``: its name among all that may be called the same.

    Raises:
        InvalidInputError: the folder is no release.
    """
    try:
        return hashlib.sha256((release / SUMS).read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidInputError(
            f"{release}: {SUMS} cannot be read ({type(error).__name__}); give the folder of a release"
        ) from error


def find_release(releases: Path | None, digest: str, name: str) -> Path:
    """The folder of the release with a digest; whether its files are as listed is another question.

    Args:
        releases: ``releases`` of ``site.yaml``: a folder of releases, or a release.
        digest: SHA-256 of its ``SHA256SUMS``.
        name: what the job calls it, for people.

    Raises:
        ReleaseMissingError: it is not there, or ``site.yaml`` names no folder.
    """
    if releases is None:
        raise ReleaseMissingError(
            "site.yaml names no folder of releases; set its key 'releases', and fetch the release"
        )
    there = [releases, *sorted(path for path in releases.glob("*") if path.is_dir())]
    for folder in there:
        if (folder / SUMS).is_file() and sums_digest(folder) == digest:
            return folder
    raise ReleaseMissingError(
        f"no release of digest {digest[:16]} among {len(there) - 1} folder(s) under 'releases' of site.yaml; fetch "
        f"{name}, and check it with 'radfed release verify'"
    )
