"""Made-up cases of an outcome task as files in every form that a clinic may give: PNG, NIfTI, DICOM, tables."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

from radfed.errors import DataError
from radfed.files import put_bytes, put_text
from radfed.imaging.nifti import write_image
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, write_series
from radfed.imaging.plane import NOMINAL_SPACING
from radfed.imaging.plausibility import check_geometry
from radfed.imaging.volume import Volume
from radfed.inference.record_inputs import CASE
from radfed.release.made_up import PICTURES, SCANS, Look, made_up_record, picture, scan
from radfed.task import ImageInput, OutcomeTask, Window

RECORDS = "records.csv"
_SEED = 7
_BITS, _BYTE = 12, 255
_VOLUME_SPACING = 1.0
_FLAVOURS = {"CT": Flavour.CT, "PT": Flavour.PT, "MR": Flavour.MR, "CR": Flavour.CR, "DX": Flavour.DX}


@dataclass(frozen=True)
class MadeUpCase:
    """A case as it was made, before it became a file.

    Attributes:
        name: what the prediction of it is called.
        form: of the file, for people.
        path: of the file or the series' folder; None where the task has no image, and before it was written.
        volume: the image that went into the file; None where the task has no image.
        covariates: the record that went into the table.
    """

    name: str
    form: str
    path: Path | None
    volume: Volume | None
    covariates: Mapping[str, float | str]


def made_up_cases(task: OutcomeTask, seed: int = _SEED) -> tuple[MadeUpCase, ...]:
    """Three cases that fit the task; equal seeds give equal cases."""
    rng = np.random.default_rng(seed)
    volumes = [None] * len(PICTURES) if task.image is None else _volumes(task.image, rng)
    form = "table" if task.image is None else "NIfTI"
    return tuple(
        MadeUpCase(f"case-{number}", form, None, volume, made_up_record(task, rng))
        for number, volume in enumerate(volumes, start=1)
    )


def write_case(folder: Path, case: MadeUpCase, task: OutcomeTask) -> None:
    """Write the image of a case, if it has one: a PNG if that can hold it, else NIfTI."""
    if task.image is None or case.volume is None:
        return
    if not _png(folder, case.name, case.volume, task.image):
        _nifti(folder, case.name, case.volume)


def write_records(path: Path, cases: Mapping[str, Mapping[str, float | str]], task: OutcomeTask) -> None:
    """Write the records of cases as the table that ``radfed predict`` reads."""
    text = io.StringIO()
    names = [covariate.name for covariate in task.covariates]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([CASE, *names])
    writer.writerows([[case, *(record.get(name, "") for name in names)] for case, record in cases.items()])
    put_text(path, text.getvalue())


def write_forms(folder: Path, task: OutcomeTask) -> tuple[MadeUpCase, ...]:
    """Write every made-up case in every form that fits it, and the table ``records.csv`` of all of them beside.

    Args:
        folder: an empty one; images go into ``images/``.
        task: the contract. Its channels say whether DICOM files are radiographs, CT, MR or PET.

    Returns:
        One entry a file (without images a row), named as its prediction will be.
    """
    images = folder / "images"
    images.mkdir()
    written: list[MadeUpCase] = []
    for case in made_up_cases(task):
        if case.volume is None or task.image is None:
            written.append(case)
            continue
        for form, write in _forms(task.image).items():
            name = f"{case.name}-{len(written)}"
            path = write(images, name, case.volume)
            if path is not None:
                written.append(replace(case, name=name, form=form, path=path))
    if task.covariates:
        write_records(folder / RECORDS, {case.name: case.covariates for case in written}, task)
    return tuple(written)


Writer = Callable[[Path, str, Volume], Path | None]
"""Writes an image under a name into a folder; None if this form cannot hold it."""


def _forms(image: ImageInput) -> dict[str, Writer]:
    forms: dict[str, Writer] = {"NIfTI": _nifti}
    modality = image.channels[0].modality
    flavour = _FLAVOURS.get(modality, Flavour.CR if image.dimensions == 2 else Flavour.MR)
    if image.dimensions == 2:
        forms["PNG"] = partial(_png, image=image)
        if flavour in (Flavour.CR, Flavour.DX):
            forms["DICOM radiograph (MONOCHROME2)"] = partial(_radiograph, flavour=flavour, inverted=False)
            forms["DICOM radiograph (MONOCHROME1)"] = partial(_radiograph, flavour=flavour, inverted=True)
    elif len(image.channels) == 1 and flavour not in (Flavour.CR, Flavour.DX):
        forms["DICOM series"] = partial(_series, flavour=flavour)
    return forms


def _volumes(image: ImageInput, rng: np.random.Generator) -> list[Volume]:
    """Whole numbers where the intensity rule leaves room for them, so that every form can hold them."""
    if image.dimensions == 2:
        made = [picture(image, rng, sides, _plane_spacing(image, sides)) for sides in PICTURES]
    else:
        first, second, third = image.size
        spacing = image.spacing or (_VOLUME_SPACING, _VOLUME_SPACING, _VOLUME_SPACING)
        look = Look(len(image.channels), spacing, (first, second, third), image.limits, image.intensity)
        made = [scan(look, rng, *how) for how in SCANS]
    rounded = [np.rint(volume.array) for volume in made]
    coarse = any(len(np.unique(array)) < 32 for array in rounded)
    return [
        volume if coarse else Volume(array.astype(np.float32), volume.affine)
        for volume, array in zip(made, rounded, strict=True)
    ]


def _plane_spacing(image: ImageInput, sides: tuple[float, float]) -> float:
    """The pixel spacing (mm) closest to that of a picture that states none, within the task's limits."""
    limits = image.limits
    pixels = [max(4, round(side * factor)) for side, factor in zip(image.size, sides, strict=True)]
    least = max(limits.min_spacing, *(mm / n for mm, n in zip(limits.min_size_mm, pixels, strict=False)))
    most = min(limits.max_spacing, *(mm / n for mm, n in zip(limits.max_size_mm, pixels, strict=False)))
    return float(np.clip(NOMINAL_SPACING, least, max(least, most)))


def _fits(volume: Volume, image: ImageInput) -> bool:
    """Whether a file that states no spacing is plausible too."""
    try:
        check_geometry(Volume(volume.array, np.diag([-NOMINAL_SPACING, -NOMINAL_SPACING, 1.0, 1.0])), image.limits)
    except DataError:
        return False
    return True


def _stored(volume: Volume) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]] | None:
    """Pixels ``(rows, columns)`` of a plane, if 12 bits hold them without loss."""
    array = volume.array
    if array.shape[0] != 1 or array.shape[3] != 1 or (array != np.rint(array)).any():
        return None
    if array.min() < 0 or array.max() >= 2**_BITS:
        return None
    return np.ascontiguousarray(array[0, :, :, 0].T).astype(np.uint16)


def _png(folder: Path, name: str, volume: Volume, image: ImageInput) -> Path | None:
    """A grey PNG of 8 bits where those hold the task's window, else of 16."""
    pixels = _stored(volume)
    if pixels is None or not _fits(volume, image):
        return None
    narrow = isinstance(image.intensity, Window) and image.intensity.upper <= _BYTE
    if narrow and pixels.max() > _BYTE:
        return None
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8 if narrow else np.uint16)).save(stream, format="PNG")
    put_bytes(folder / f"{name}.png", stream.getvalue())
    return folder / f"{name}.png"


def _nifti(folder: Path, name: str, volume: Volume) -> Path:
    path = folder / f"{name}.nii.gz"
    write_image(path, volume)
    return path


def _radiograph(folder: Path, name: str, volume: Volume, flavour: Flavour, inverted: bool) -> Path | None:
    """One DICOM file; inverted, its large values are the dark ones."""
    pixels = _stored(volume)
    made = None if pixels is None else _series(folder, name, volume, flavour)
    if made is None or pixels is None:
        return None
    path = made.with_suffix(".dcm")
    next(made.iterdir()).rename(path)
    made.rmdir()
    if inverted:
        dataset = pydicom.dcmread(path)
        top = 2 ** int(dataset.BitsStored) - 1
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.PixelData = (top - pixels).astype(np.uint16).tobytes()
        dataset.save_as(path)
    return path


def _series(folder: Path, name: str, volume: Volume, flavour: Flavour) -> Path | None:
    """A folder with the DICOM series of a patient of its own."""
    if (volume.array != np.rint(volume.array)).any():
        return None
    number = int(name.rsplit("-", 1)[1])
    patient = fake_patient(np.random.default_rng(number))
    write_series(folder / name, volume, flavour, patient, seed=_SEED + number)
    return folder / name
