"""Scans for the parity gate: of prepared datasets, of DICOM folders, or made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from radfed.dataset.layout import Dataset
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.dicom.index import Series, index_folder
from radfed.imaging.phantoms_dicom import Compression, Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.inference.dicom_inputs import choose
from radfed.release.conformance import synthetic_cases
from radfed.release.dicom_parity import DicomCase
from radfed.task import Channel, SegmentationTask

PER_DATASET = 2
_SEED = 11
# Whether all slices are in one file, how the pixels are packed, and by how much the patient is turned (degrees).
_WRITTEN: tuple[tuple[bool, Compression, tuple[float, float, float]], ...] = (
    (False, "none", (20.0, -10.0, 5.0)),
    (False, "jpegls", (-15.0, 25.0, 10.0)),
    (True, "rle", (5.0, 5.0, -30.0)),
)


@dataclass(frozen=True)
class GivenCase:
    """A case that a person gave to the gate.

    Attributes:
        volume: the image; None for a record alone.
        covariates: of the record, by the task's names.
    """

    volume: Volume | None
    covariates: Mapping[str, float | str] = field(default_factory=dict)


def parity_cases(datasets: Sequence[Path]) -> tuple[tuple[GivenCase, ...], bool]:
    """The first test cases of each dataset (of any split where it has none), and whether any dataset is made up.

    Raises:
        InvalidInputError: a folder is no prepared dataset.
        DataError: a scan cannot be read.
    """
    cases, phantom = [], False
    for root in datasets:
        dataset = Dataset.read(root)
        phantom |= dataset.phantom
        for case in (dataset.split("test") or dataset.cases)[:PER_DATASET]:
            cases.append(GivenCase(dataset.image(case) if case.image else None, case.covariates))
    return tuple(cases), phantom


def dicom_cases(folders: Sequence[Path], task: SegmentationTask) -> tuple[DicomCase, ...]:
    """The first cases of each folder of DICOM files, chosen as ``radfed predict`` does.

    Raises:
        InvalidInputError: a folder is none, or holds nothing that fits the task.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise InvalidInputError(f"{folder}: is no folder; give folders of DICOM files")
        contents = [case.content for case in choose(index_folder(folder).series, task)]
        fitting = [content for content in contents if not isinstance(content, DataError)]
        if not fitting:
            reasons = "; ".join(sorted({str(content) for content in contents})) or "no DICOM image is in it"
            raise InvalidInputError(f"{folder}: holds no case of the task: {reasons}")
        found += [DicomCase(channels, made_up=False) for channels in fitting[:PER_DATASET]]
    return tuple(found)


def made_up_dicom(folder: Path, task: SegmentationTask) -> tuple[DicomCase, ...]:
    """Write the made-up scans of the task as DICOM series, oblique, classic and multi-frame, plain and compressed.

    Args:
        folder: an empty one.
        task: its channels say the modality, MR where that is neither CT nor PT.
    """
    cases = []
    patient = fake_patient(np.random.default_rng(_SEED))
    for number, (scan, (enhanced, compression, angles)) in enumerate(zip(synthetic_cases(task), _WRITTEN, strict=True)):
        affine = _turned(scan.affine, angles)
        channels: list[Series] = []
        for index, channel in enumerate(task.channels):
            where = folder / f"{number}-{index}"
            whole = np.clip(np.rint(scan.array[index : index + 1]), -1024, 32767)
            write_series(
                where,
                Volume(whole, affine),
                _flavour(channel, enhanced),
                patient,
                seed=_SEED + 100 * number + index,
                compression=compression,
                series_number=index + 1,
                description=channel.name,
            )
            channels += index_folder(where).series
        cases.append(DicomCase(tuple(channels), made_up=True))
    return tuple(cases)


def _flavour(channel: Channel, enhanced: bool) -> Flavour:
    match channel.modality:
        case "CT":
            return Flavour.ENHANCED_CT if enhanced else Flavour.CT
        case "PT":
            return Flavour.PT
        case _:
            return Flavour.ENHANCED_MR if enhanced else Flavour.MR


def _turned(affine: NDArray[np.float64], angles: tuple[float, float, float]) -> NDArray[np.float64]:
    """The grid after the patient was turned around R, A and S."""
    turned = affine.copy()
    turned[:3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ affine[:3]
    return turned
