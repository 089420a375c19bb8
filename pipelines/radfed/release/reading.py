"""A release that is being read: hands out plain files only, and the model only if it stands alone."""

from functools import cached_property
from pathlib import Path
from typing import Protocol

from radfed.errors import GateError
from radfed.inference.model import OnnxModel
from radfed.inference.opened import MODEL
from radfed.release.layout import TASK
from radfed.release.onnx_audit import check_self_contained
from radfed.release.seal import release_files
from radfed.task import TaskSpec


class NotVerifiableError(Exception):
    """What it takes to check a claim is not here."""


class Release(Protocol):
    """What a claim needs of a release."""

    def file(self, name: str) -> Path:
        """A plain file of the release; raises ``GateError``."""

    def has(self, name: str) -> bool:
        """Whether the release holds such a file."""

    def names(self, folder: str = "") -> tuple[str, ...]:
        """The files in a folder of the release and below, by their relative POSIX paths, sorted."""

    @property
    def contract(self) -> TaskSpec:
        """The contract in ``task.yaml``; raises ``InvalidInputError`` if it is none."""

    @property
    def model(self) -> OnnxModel:
        """The model; raises ``GateError`` if it does not stand alone."""


class OpenRelease:
    """A release's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def file(self, name: str) -> Path:
        """A file of the release.

        Raises:
            GateError: it is missing, or a link stands on the way to it.
        """
        path = self.root / name
        for step in (path, *path.parents):
            if step == self.root:
                break
            if step.is_symlink():
                raise GateError(f"{name} is, or lies behind, a symbolic link")
        if not path.is_file():
            raise GateError(f"{name} is missing")
        return path

    def has(self, name: str) -> bool:
        """Whether the release holds such a file."""
        return (self.root / name).exists()

    def names(self, folder: str = "") -> tuple[str, ...]:
        """The files in a folder and below."""
        return tuple(name for name in release_files(self.root) if not folder or name.startswith(f"{folder}/"))

    @property
    def contract(self) -> TaskSpec:
        """The contract, read once."""
        if isinstance(self._contract, Exception):
            raise self._contract
        return self._contract

    @cached_property
    def _contract(self) -> TaskSpec | Exception:
        try:
            return TaskSpec.read(self.file(TASK))
        except Exception as error:
            # Deliberately everything, and kept: a file made to be slow to refuse is read once, not by every claim.
            return error

    @cached_property
    def model(self) -> OnnxModel:
        """The model, never opened before it is known to point nowhere."""
        path = self.file(MODEL)
        check_self_contained(path)
        return OnnxModel.load(path)


class Extended(OpenRelease):
    """A release as it would be with some files more, or others in their place."""

    def __init__(self, root: Path, files: dict[str, Path]) -> None:
        super().__init__(root)
        self._files = files

    def file(self, name: str) -> Path:
        """A file that is to be added, else one of the release."""
        return self._files[name] if name in self._files else super().file(name)

    def has(self, name: str) -> bool:
        """Whether there will be such a file."""
        return name in self._files or super().has(name)

    def names(self, folder: str = "") -> tuple[str, ...]:
        """The files in a folder and below, as they will be."""
        added = {name for name in self._files if not folder or name.startswith(f"{folder}/")}
        return tuple(sorted(added | set(super().names(folder))))
