"""A release's model, taken only if it is the one that the release lists."""

from pathlib import Path

from radfed.errors import GateError, InvalidInputError
from radfed.inference.checksums import file_digest, read_sums
from radfed.inference.model import OnnxModel

MODEL = "model.onnx"


def open_model(release: Path, threads: int | None = None) -> OnnxModel:
    """Open the model of a release.

    Args:
        release: its folder, or an ``.onnx`` file with its contract.
        threads: CPU threads; None takes all cores.

    Raises:
        InvalidInputError: there is no usable model.
        GateError: the release's model is not the one that it lists.
    """
    return OnnxModel.load(listed_file(release, MODEL) if release.is_dir() else release, threads)


def listed_file(release: Path, name: str) -> Path:
    """A file of a release, checked against the release's own list of digests.

    Raises:
        InvalidInputError: there is none, or the release does not list it.
        GateError: it is not the one that the release lists.
    """
    listed = read_sums(release).get(name)
    path = release / name
    if listed is None or not path.is_file() or path.is_symlink():
        raise InvalidInputError(f"{release}: holds no {name} that its SHA256SUMS lists; is this a release's folder?")
    got = file_digest(path)
    if got != listed:
        raise GateError(
            f"{name} is not the one that the release lists: its SHA-256 is {got[:12]}, listed is {listed[:12]}; "
            "get the release again, and check it with 'radfed release verify'"
        )
    return path
