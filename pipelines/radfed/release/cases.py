"""Scans of prepared datasets for the parity gate."""

from collections.abc import Sequence
from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.imaging.volume import Volume

PER_DATASET = 2


def parity_cases(datasets: Sequence[Path]) -> tuple[tuple[Volume, ...], bool]:
    """The first test scans of each dataset (of any split where it has none), and whether any dataset is made up.

    Raises:
        InvalidInputError: a folder is no prepared dataset.
        DataError: a scan cannot be read.
    """
    volumes, phantom = [], False
    for root in datasets:
        dataset = Dataset.read(root)
        phantom |= dataset.phantom
        chosen = (dataset.split("test") or dataset.cases)[:PER_DATASET]
        volumes += [dataset.image(case) for case in chosen]
    return tuple(volumes), phantom
