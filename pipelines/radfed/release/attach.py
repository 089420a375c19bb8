"""What joins a release after it was built: reports, audits, signed statements, sign-offs."""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from radfed.errors import GateError, InvalidInputError
from radfed.release.additions import check_leakage, check_signoff, check_site_metrics
from radfed.release.claims import check_evaluation
from radfed.release.derived import finish
from radfed.release.layout import COMPARISON, EVALUATION, LEAKAGE, METRICS, REPORT, REVIEW_CHAIN, SIGNOFF, SITES
from radfed.release.reading import Extended, NotVerifiableError
from radfed.release.seal import check_sums

KNOWN = tuple(PurePosixPath(name).name for name in (LEAKAGE, SIGNOFF, REVIEW_CHAIN, METRICS, COMPARISON, REPORT))
"""Files that ``attach`` takes, and the folder ``sites/`` beside them."""
_OWN = ("parity.json", "federated.json", "operating_point.json")
_CHECKS = (check_evaluation, check_leakage, check_site_metrics, check_signoff)


def attach(release: Path, given: Sequence[Path]) -> tuple[str, ...]:
    """Add files and folders by their own names; each must be one that a release has a place for.

    Returns:
        The paths that they got inside the release.

    Raises:
        InvalidInputError: a name that has no place, or nothing there.
        GateError: what was given does not hold, or is of another model; or the release is not as it was sealed.
    """
    files: dict[str, Path] = {}
    folder = PurePosixPath(SITES).name
    for path in given:
        if path.is_dir() and path.name == folder:
            files |= {f"{folder}/{one.name}": one for one in sorted(path.iterdir())}
        elif path.name in KNOWN:
            files[path.name] = path
        else:
            raise InvalidInputError(f"{path}: a release has no place for it; give {', '.join(KNOWN)}, or {folder}/")
    add_evaluation(release, files)
    return tuple(f"{EVALUATION}/{name}" for name in files)


def add_evaluation(release: Path, files: Mapping[str, Path]) -> None:
    """Copy files into ``evaluation/``, describe and seal the release again; a signature is taken away.

    Args:
        release: a sealed release whose files are as listed.
        files: by the path that each gets inside ``evaluation/``, for example ``metrics.json``.

    Raises:
        InvalidInputError: a name leads out of ``evaluation/`` or is of the builder's own, or a file is missing.
        GateError: the release is not as its list says, and sealing it again would bless the change; or what is added
            does not hold, is of another model, or must not leave the site.
    """
    for name, source in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts or path.as_posix() != name or "\n" in name:
            raise InvalidInputError(f"evaluation file names are relative paths like metrics.json, got {name!r}")
        if name in _OWN:
            raise InvalidInputError(f"{name} is of the gate's own, or of the builder's, and stays")
        if source.is_symlink() or not source.is_file():
            raise InvalidInputError(f"{source}: is no file")
    check_sums(release)
    _demand(release, {f"{EVALUATION}/{name}": source for name, source in files.items()})
    for name, source in files.items():
        target = release / EVALUATION / name
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            shutil.copyfile(source, beside)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    finish(release)


def _demand(release: Path, files: dict[str, Path]) -> None:
    """Refuse what would be a false claim once it is in."""
    for check in _CHECKS:
        try:
            check(Extended(release, files))
        except NotVerifiableError:
            continue
        except InvalidInputError as error:
            raise GateError(f"what is added does not hold: {error}") from error
