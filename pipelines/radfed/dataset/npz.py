"""npz files in the layout of MedMNIST: ``train_images``, ``train_labels``, and the same for ``val`` and ``test``.

Yang et al., MedMNIST v2, Scientific Data 2023. Images are ``(N, H, W)``, or ``(N, D, H, W)`` for volumes, whose axes
have no known direction in the patient; labels are ``(N, 1)``, or ``(N, findings)``.
"""

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.pictures import Scan
from radfed.dataset.records_mapping import ImageColumn, SplitColumn
from radfed.dataset.tables import Table, make_table
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.plane import NOMINAL_SPACING, plane
from radfed.imaging.volume import Volume

PARTS = ("train", "val", "test")
IMAGE = ImageColumn(column="id")
SPLIT = SplitColumn(column="split", values={"train": "training", "val": "validation"})
_DIMENSIONS = (3, 4)


class NpzPictures:
    """Images of an npz file by split and index, such as ``train-17``; their spacing is nominal."""

    def __init__(self, path: Path) -> None:
        arrays = _read(path)
        self._images = {part: arrays[f"{part}_images"] for part in PARTS if f"{part}_images" in arrays}
        self._labels = {part: arrays[f"{part}_labels"] for part in self._images}
        self._name = path.name

    def read(self, name: str) -> Scan:
        """One image; see ``radfed.dataset.pictures.Pictures``."""
        part, _, index = name.rpartition("-")
        images = self._images.get(part)
        if images is None or not index.isdecimal() or int(index) >= len(images):
            raise DataError("no_image", "the npz file has no such image; name it by part and index, such as train-0")
        array = images[int(index)]
        volume = plane(array) if array.ndim == 2 else _volume(array)
        return Scan(volume, depth=f"{8 * array.dtype.itemsize} bit")

    def mask(self, name: str) -> Volume:
        """There is none."""
        raise DataError("no_label", "an npz file of this layout holds no masks")

    def unnamed(self, names: Collection[str]) -> int:
        """Images that none of the names means."""
        return sum(f"{part}-{index}" not in names for part, all_ in self._images.items() for index in range(len(all_)))

    def table(self) -> Table:
        """The columns ``id``, ``split``, and ``label``, or ``label_0``, ``label_1``, ... for several findings."""
        width = {labels.shape[1] for labels in self._labels.values()}
        if len(width) != 1:
            raise InvalidInputError(f"{self._name}: its parts have labels of different widths")
        columns = ["label"] if width == {1} else [f"label_{index}" for index in range(width.pop())]
        rows: list[tuple[str | None, ...]] = [
            (f"{part}-{index}", part, *(str(int(value)) for value in label))
            for part, labels in self._labels.items()
            for index, label in enumerate(labels)
        ]
        return make_table(self._name, ["id", "split", *columns], rows)


def _volume(array: NDArray[Any]) -> Volume:
    """A volume ``(D, H, W)`` drawn plane by plane as if it were axial."""
    spacing = NOMINAL_SPACING
    return Volume(array.transpose(2, 1, 0)[np.newaxis], np.diag([-spacing, -spacing, spacing, 1.0]))


def _read(path: Path) -> Mapping[str, NDArray[Any]]:
    """The arrays, checked."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidInputError(
            f"{path}: cannot be read as npz ({type(error).__name__}); an array of objects is not read"
        ) from error
    parts = [part for part in PARTS if f"{part}_images" in arrays]
    if not parts:
        raise InvalidInputError(
            f"{path}: holds no train_images, val_images or test_images; got: {', '.join(arrays) or 'nothing'}"
        )
    for part in parts:
        images, labels = arrays[f"{part}_images"], arrays.get(f"{part}_labels")
        if images.ndim == 4 and images.shape[-1] == 3:
            raise InvalidInputError(f"{path}: {part}_images are in colour, shape {images.shape}; radiographs are grey")
        if images.ndim not in _DIMENSIONS or images.dtype.kind not in "uif":
            raise InvalidInputError(f"{path}: {part}_images must be numbers (N, H, W) or (N, D, H, W)")
        if labels is None or labels.ndim != 2 or len(labels) != len(images) or labels.dtype.kind not in "ui":
            raise InvalidInputError(f"{path}: {part}_labels must be whole numbers, a row for each image")
    return arrays
