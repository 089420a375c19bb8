"""Phantoms as DICOM: vendor-flavoured series of a known volume, faulty on request, for tests and demonstrations.

Everything is made up: patients, hospitals, identifiers, private content. Equal arguments give byte-identical files.
"""

import os
from enum import StrEnum
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.uid import CTImageStorage, MRImageStorage

from radfed.imaging.phantom_dicom.classic import classic_dataset
from radfed.imaging.phantom_dicom.header import SeriesContext
from radfed.imaging.phantom_dicom.patient import FakePatient, fake_patient, planted_values
from radfed.imaging.phantom_dicom.slices import slices_of
from radfed.imaging.phantom_dicom.storage import Compression, Storage, first_fit
from radfed.imaging.phantom_dicom.vendors import ge_ct, siemens_mr
from radfed.imaging.volume import Volume

__all__ = ["Compression", "FakePatient", "Flavour", "Storage", "fake_patient", "planted_values", "write_series"]


class Flavour(StrEnum):
    CT = "ct"
    MR = "mr"


def write_series(
    folder: Path,
    volume: Volume,
    flavour: Flavour | str,
    patient: FakePatient,
    *,
    seed: int,
    compression: Compression = "none",
    series_number: int = 1,
    description: str = "phantom",
    faults: frozenset[str] = frozenset(),
) -> tuple[Path, ...]:
    """First version: classic CT and MR."""
    import numpy as np

    flavour = Flavour(flavour)
    context = SeriesContext(patient, seed, series_number, description, flavour.value)
    pieces = slices_of(volume)
    values = np.stack([piece.values for piece in pieces])
    if flavour is Flavour.CT:
        storage = first_fit(values, (Storage(12, False, 1.0, -1024.0), Storage(16, True, 1.0, 0.0)))
    else:
        storage = first_fit(values, (Storage(12, False), Storage(16, False), Storage(16, True)))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for serial, piece in enumerate(pieces, start=1):
        if flavour is Flavour.CT:
            dataset = classic_dataset(context, piece, serial, storage, CTImageStorage, "CT")
            ge_ct(dataset, piece, storage)
        else:
            dataset = classic_dataset(context, piece, serial, storage, MRImageStorage, "MR")
            siemens_mr(dataset, piece, storage)
        path = folder / f"s{series_number:03d}_{serial:04d}.dcm"
        _write(dataset, path)
        paths.append(path)
    return tuple(paths)


def _write(dataset: Dataset, path: Path) -> None:
    beside = path.with_name(f".{path.name}")
    dcmwrite(beside, dataset, enforce_file_format=True)
    os.replace(beside, path)
