"""Registries of releases: a folder, or an OCI registry; what is pushed and what is pulled is verified first.

A version in a registry never changes: pushing the same release again does nothing, another one of the same name and
version is refused. What is fetched stands in its place only after every claim of it held.
"""

import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol

from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import SUMS, file_digest
from radfed.release.layout import METADATA
from radfed.release.seal import check_sums, release_files
from radfed.release.verify import verify
from radfed.settings import Settings

_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Entry(Settings):
    """A release in a registry."""

    name: str
    version: str
    digest: str | None = None
    """SHA-256 of its ``SHA256SUMS``, by which the whole release is known; None if the registry does not say."""


class Registry(Protocol):
    """Where releases are kept, by name and version."""

    def entries(self) -> tuple[Entry, ...]:
        """What is there, by name and version.

        Raises:
            FederationError: it cannot be reached.
        """

    def find(self, name: str, version: str) -> Entry | None:
        """One release, with its digest; None if it is not there."""

    def put(self, entry: Entry, files: Mapping[str, Path]) -> None:
        """Store a release that is not there yet, whole or not at all.

        Args:
            entry: name, version and digest.
            files: every file of the release by its relative POSIX path.
        """

    def get(self, name: str, version: str, folder: Path) -> None:
        """Write the files of a release into an empty folder. They are not to be trusted."""


def open_registry(address: str) -> Registry:
    """The registry at an address: a folder, ``oci://HOST[:PORT]/PATH``, or ``oci+http://`` on this machine.

    Raises:
        InvalidInputError: it is no such address.
    """
    from radfed.release.registry_folder import FolderRegistry
    from radfed.release.registry_oci import SCHEMES, OciRegistry

    if address.startswith(SCHEMES):
        return OciRegistry.at(address)
    if "://" in address:
        raise InvalidInputError(f"{address}: a registry is a folder or {' or '.join(SCHEMES)}HOST/PATH")
    return FolderRegistry(Path(address))


def push(release: Path, address: str) -> tuple[Entry, bool]:
    """Store a release whose every claim holds.

    Returns:
        What it is in the registry, and whether it is new there.

    Raises:
        InvalidInputError: the folder is no release, or its name is not one for a registry.
        GateError: a claim of the release is false, or another release of this name and version is there.
    """
    entry = _identity(release)
    _demand(release, None)
    registry = open_registry(address)
    there = registry.find(entry.name, entry.version)
    if there is not None:
        if there.digest != entry.digest:
            raise GateError(
                f"{entry.name} {entry.version} is in the registry with other content ({_short(there.digest)}, this one "
                f"is {_short(entry.digest)}); a version never changes: build the release with another --version"
            )
        return entry, False
    registry.put(entry, {**release_files(release), SUMS: release / SUMS})
    return entry, True


def pull(reference: str, out: Path, public_key: Path | None = None) -> Path:
    """Fetch a release, verify it, and only then put it in its place.

    Args:
        reference: ``REGISTRY/NAME:VERSION``.
        out: folder in which ``NAME-VERSION/`` is made.
        public_key: of who must have signed it; None takes any release whose claims hold.

    Raises:
        InvalidInputError: there is no such release, or ``out`` already holds one of this name and version.
        GateError: a claim of what was fetched is false. Nothing is kept.
    """
    address, name, version = _parse(reference)
    target = out / f"{name}-{version}"
    if target.exists():
        raise InvalidInputError(f"{target}: is already there; move it away, or give another --out")
    registry = open_registry(address)
    if registry.find(name, version) is None:
        there = [entry.version for entry in registry.entries() if entry.name == name]
        raise InvalidInputError(
            f"{address} holds no {name} {version}; of this name there is {', '.join(there) or 'nothing'}"
        )
    stage = out / f".pull-{secrets.token_hex(4)}"
    fetched = stage / target.name
    fetched.mkdir(parents=True)
    try:
        registry.get(name, version, fetched)
        entry = _identity(fetched)
        if (entry.name, entry.version) != (name, version):
            raise GateError(f"what the registry calls {name} {version} says of itself {entry.name} {entry.version}")
        _demand(fetched, public_key)
        fetched.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return target


def safe_name(name: str) -> str:
    """A file's relative path that comes from a registry, if it stays inside the release.

    Raises:
        GateError: it does not.
    """
    parts = name.split("/")
    if PurePosixPath(name).as_posix() != name or not all(_PART.fullmatch(part) for part in parts):
        raise GateError(f"the registry names a file {name[:80]!r}, which is no plain path inside a release")
    return name


def _parse(reference: str) -> tuple[str, str, str]:
    address, slash, last = reference.rpartition("/")
    name, colon, version = last.partition(":")
    if not (slash and address and colon and _NAME.fullmatch(name) and _VERSION.fullmatch(version)):
        raise InvalidInputError(
            f"{reference}: give REGISTRY/NAME:VERSION, like models/lungs:1.0.0; see 'radfed release list REGISTRY'"
        )
    return address, name, version


def _identity(release: Path) -> Entry:
    """What a release calls itself.

    Raises:
        InvalidInputError: the folder is no release, or its name is not one for a registry.
    """
    try:
        content = json.loads((release / METADATA).read_text(encoding="utf-8"))
        name, version = str(content["name"]), str(content["version"])
        digest = file_digest(release / SUMS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(
            f"{release.name}: {METADATA} or {SUMS} cannot be read; give a release that 'radfed release build' wrote"
        ) from error
    if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version)):
        raise InvalidInputError(
            f"{METADATA}: a registry takes names of lower case letters and digits, and versions like 1.0.0, got "
            f"{name!r} {version!r}"
        )
    return Entry(name=name, version=version, digest=digest)


def _demand(release: Path, public_key: Path | None) -> None:
    """Refuse a release of which a claim is false, or whose signer is not the one who is wanted."""
    check_sums(release)
    report = verify(release, public_key)
    # With a key given, verification itself fails what that key did not sign.
    if report.false:
        reasons = "; ".join(f"{claim.name}: {claim.reason}" for claim in report.false)
        raise GateError(f"{release.name} was refused; {reasons}")


def _short(digest: str | None) -> str:
    return "unknown" if digest is None else digest[:12]
