"""Model weights as named NumPy arrays: their file (safetensors, never pickle) and their digest."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from radfed.errors import InvalidInputError

Weights = Mapping[str, NDArray[Any]]


def weights_digest(weights: Weights) -> str:
    """SHA-256 over names, dtypes, shapes and little-endian bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def save_weights(path: Path, weights: Weights) -> None:
    """Write a safetensors file, beside its place first."""
    beside = path.with_name(f".{path.name}.partial")
    save_file({name: np.asarray(array, order="C") for name, array in weights.items()}, beside)
    os.replace(beside, path)


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read a safetensors file.

    Raises:
        InvalidInputError: the file is missing or is no safetensors file.
    """
    try:
        weights: dict[str, NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidInputError(f"{path.name}: is no readable safetensors file ({type(error).__name__})") from error
    return weights


class WeightsFile(Mapping[str, NDArray[Any]]):
    """The tensors of a safetensors file, each read when it is asked for: a model costs no memory until then.

    Raises:
        InvalidInputError: the file is missing or is no safetensors file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file: Any = safe_open(path, framework="numpy")
        except (OSError, SafetensorError) as error:
            raise InvalidInputError(f"{path.name}: is no readable safetensors file ({type(error).__name__})") from error
        names: Any = self._file
        self._names: tuple[str, ...] = tuple(names.keys())

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._names:
            raise KeyError(name)
        array: NDArray[Any] = self._file.get_tensor(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
