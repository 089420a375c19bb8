"""A series of files from a volume: cut, break, store, dress, plant, pack, write."""

import dataclasses
import os
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite

from radfed.errors import InvalidInputError
from radfed.imaging.phantom_dicom.faults import GEOMETRY_FAULTS, GeometryFault, apply_faults
from radfed.imaging.phantom_dicom.flavours import Flavour, datasets
from radfed.imaging.phantom_dicom.header import SeriesContext
from radfed.imaging.phantom_dicom.identifiers import IDENTIFIER_FAULTS, IdentifierFault, plant
from radfed.imaging.phantom_dicom.packing import Compression, pack
from radfed.imaging.phantom_dicom.patient import FakePatient
from radfed.imaging.phantom_dicom.slices import Slice, slices_of
from radfed.imaging.phantom_dicom.storage import Storage
from radfed.imaging.phantom_dicom.text import draw_text
from radfed.imaging.volume import Volume

Fault = GeometryFault | IdentifierFault
_LOCALIZER_NUMBER = 900


def write_series(
    folder: Path,
    volume: Volume,
    flavour: Flavour | str,
    patient: FakePatient,
    *,
    seed: int,
    compression: Compression = "none",
    series_number: int = 1,
    description: str = "t2 abdomen tra",
    storage: Storage | None = None,
    tilt_degrees: float = 0.0,
    faults: Collection[Fault] = (),
) -> tuple[Path, ...]:
    """Write a RAS volume ``(1, H, W, D)`` as a DICOM series; equal arguments give byte-identical files.

    Slices are cut along the last axis; columns run along the first, rows along the second. Reading the series back
    gives equal voxels and equal world coordinates, unless a fault of geometry is asked for.

    Args:
        folder: gets the files; made if absent. Several series may share it if their numbers differ.
        volume: whole numbers, three orthogonal axes.
        flavour: modality and vendor.
        patient: series of equal patients share study and frame of reference.
        seed: of the UIDs and of random faults.
        compression: transfer syntax; all without loss.
        series_number: ``SeriesNumber``.
        description: ``SeriesDescription`` and ``ProtocolName``.
        storage: how values are stored; None: as the flavour does, with bits and sign that hold them.
        tilt_degrees: shear of the series, either sign; 0 with the fault ``tilt`` means 12.
        faults: of ``GEOMETRY_FAULTS`` and ``IDENTIFIER_FAULTS``.

    Returns:
        All files, those of extra series and copies last.

    Raises:
        InvalidInputError: the volume cannot be written so, or a fault or flavour is unknown.
    """
    wanted, kind = _known(flavour, faults)
    context = SeriesContext(patient, seed, series_number, description, kind.value)
    slices = apply_faults(slices_of(volume), wanted, tilt_degrees, np.random.default_rng(seed))
    if wanted & {"burned_in", "unflagged_text"}:
        slices = tuple(_with_text(piece, patient) for piece in slices)
    made = datasets(context, kind, slices, storage)
    if "missing_geometry" in wanted:
        _forget_position(made[len(made) // 2])
    paths = list(_write_all(folder, made, patient, compression, series_number, wanted))
    if "duplicate" in wanted:
        copy = folder / f"copy_of_{paths[len(paths) // 2].name}"
        shutil.copyfile(paths[len(paths) // 2], copy)
        paths.append(copy)
    if "localizer" in wanted:
        scout = SeriesContext(patient, seed, series_number + _LOCALIZER_NUMBER, "localizer", kind.value)
        made = datasets(scout, kind, _three_planes(volume), storage)
        for dataset in made:
            _mark_localizer(dataset)
        paths += _write_all(folder, made, patient, compression, scout.number, wanted)
    return tuple(paths)


def _known(flavour: Flavour | str, faults: Collection[Fault]) -> tuple[frozenset[str], Flavour]:
    """The faults as a set and the flavour, checked."""
    if isinstance(faults, str) or set(faults) - (GEOMETRY_FAULTS | IDENTIFIER_FAULTS):
        choices = ", ".join(sorted(GEOMETRY_FAULTS | IDENTIFIER_FAULTS))
        raise InvalidInputError(f"faults must be of {choices}; got {faults!r}")
    try:
        return frozenset(faults), Flavour(flavour)
    except ValueError as error:
        choices = ", ".join(choice.value for choice in Flavour)
        raise InvalidInputError(f"flavour must be one of {choices}; got {flavour!r}") from error


def _with_text(piece: Slice, patient: FakePatient) -> Slice:
    lines = (patient.family, patient.id, patient.study_date)
    return dataclasses.replace(piece, values=draw_text(piece.values, lines))


def _three_planes(volume: Volume) -> tuple[Slice, ...]:
    """The middle slice across each axis of the volume; an acquisition each, as their shapes differ."""
    planes = []
    for number, (first, second, across) in enumerate(((0, 1, 2), (0, 2, 1), (1, 2, 0)), start=1):
        array = np.transpose(volume.array, (0, 1 + first, 1 + second, 1 + across))
        affine = volume.affine.copy()
        affine[:, :3] = volume.affine[:, [first, second, across]]
        slices = slices_of(Volume(array, affine))
        planes.append(dataclasses.replace(slices[len(slices) // 2], number=number, acquisition=number, count=3))
    return tuple(planes)


def _mark_localizer(dataset: Dataset) -> None:
    image_type = list(dataset.ImageType)
    dataset.ImageType = [*image_type[:2], "LOCALIZER", *image_type[3:]]
    for shared in dataset.get("SharedFunctionalGroupsSequence", []):
        for group in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence"):
            for item in shared.get(group, []):
                item.FrameType = list(dataset.ImageType)


def _forget_position(dataset: Dataset) -> None:
    if "PerFrameFunctionalGroupsSequence" in dataset:
        del dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    elif "ImagePositionPatient" in dataset:
        del dataset.ImagePositionPatient


def _write_all(
    folder: Path,
    made: Collection[Dataset],
    patient: FakePatient,
    compression: Compression,
    number: int,
    faults: frozenset[str],
) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    owner = f"{patient.family}_{patient.given}_{patient.id}_" if "filename_phi" in faults else ""
    paths = []
    for serial, dataset in enumerate(made, start=1):
        pack(dataset, compression)
        plant(dataset, patient, faults)
        path = folder / f"{owner}s{number:03d}_{serial:04d}.dcm"
        beside = path.with_name(f".{path.name}")
        dcmwrite(beside, dataset, enforce_file_format=True)
        os.replace(beside, path)
        paths.append(path)
    return tuple(paths)
