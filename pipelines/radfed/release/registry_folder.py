"""A registry in a folder: ``<folder>/<name>/<version>/`` holds a release's files."""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from radfed.errors import GateError
from radfed.inference.checksums import SUMS, file_digest
from radfed.release.registry import Entry, safe_name
from radfed.release.seal import release_files


@dataclass(frozen=True)
class FolderRegistry:
    """Releases in a folder that institutions share, or that one hands the other on a disk."""

    root: Path

    def entries(self) -> tuple[Entry, ...]:
        """See ``Registry``."""
        found = (_entry(sums.parent) for sums in sorted(self.root.glob(f"*/*/{SUMS}")) if _plain(sums))
        return tuple(entry for entry in found if not entry.version.startswith("."))

    def find(self, name: str, version: str) -> Entry | None:
        """See ``Registry``."""
        folder = self.root / name / version
        return _entry(folder) if _plain(folder / SUMS) else None

    def put(self, entry: Entry, files: Mapping[str, Path]) -> None:
        """See ``Registry``."""
        folder = self.root / entry.name
        stage = folder / f".{entry.version}.{secrets.token_hex(4)}"
        stage.mkdir(parents=True)
        try:
            _copy(files, stage)
            stage.rename(folder / entry.version)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def get(self, name: str, version: str, folder: Path) -> None:
        """See ``Registry``."""
        source = self.root / name / version
        files = {**release_files(source), SUMS: source / SUMS}
        odd = [path for path, file in files.items() if not _plain(file)]
        if odd:
            raise GateError(f"{name} {version} in the registry holds what is no plain file: {', '.join(odd[:5])}")
        _copy(files, folder)


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _entry(folder: Path) -> Entry:
    return Entry(name=folder.parent.name, version=folder.name, digest=file_digest(folder / SUMS))


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    for name, source in files.items():
        target = folder / safe_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
