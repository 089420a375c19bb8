"""A hospital's phantoms as DICOM studies, each with its organs as DICOM SEG."""

from dataclasses import dataclass
from pathlib import Path

from radfed.imaging.phantom_dicom.flavours import Flavour
from radfed.imaging.phantom_dicom.identifiers import IdentifierFault
from radfed.imaging.phantom_dicom.packing import Compression
from radfed.imaging.phantom_dicom.patient import FakePatient, fake_patient
from radfed.imaging.phantom_dicom.segmentation import write_phantom_seg
from radfed.imaging.phantom_dicom.series import Fault, write_series
from radfed.imaging.phantoms import PhantomCase, Scanner, cohort_case, cohort_rng, new_cohort
from radfed.imaging.volume import Volume

PLANTED: tuple[IdentifierFault, ...] = ("nested_phi", "private_phi", "description_phi", "meta_phi")
"""Where the first study of a cohort carries identifiers, besides the usual attributes, which all carry."""
DESCRIPTION = "t2 tse tra"


@dataclass(frozen=True)
class Style:
    """How a hospital's scanner writes its files."""

    flavour: Flavour = Flavour.MR
    compression: Compression = "none"


STYLES = (Style(), Style(Flavour.ENHANCED_MR), Style(Flavour.MR_PHILIPS, "jpeg2000"))
"""Three hospitals: classic, enhanced, and classic compressed."""


def write_dicom_cohort(
    folder: Path, site: str, scanner: Scanner, cases: int, seed: int, *, style: Style = STYLES[0], bad: bool = True
) -> tuple[str, ...]:
    """Write a hospital's cohort, one folder a study; equal arguments give byte-identical files.

    Each study holds an image series and a SEG of liver and spleen. The patients and voxels are those that
    ``radfed.imaging.phantoms.write_cohort`` writes for the same arguments.

    Args:
        folder: must be absent or empty.
        site: the hospital; ``site-a`` makes the folders ``phantom_a_001``, ...
        scanner: one of ``SCANNERS`` or your own.
        cases: how many good studies, at least 1.
        seed: of the cohort; the site's name is mixed in.
        style: vendor and compression.
        bad: whether to add two studies that must not be used: ``phantom_a_gap`` lacks a slice, ``phantom_a_text``
            has the patient's name drawn into the image and a secondary capture besides.

    Returns:
        The folders of the good studies.

    Raises:
        InvalidInputError: no case is asked for, or the folder already holds something.
    """
    names = new_cohort(folder, site, cases)
    for number, name in enumerate(names):
        case, patient = cohort_case(site, scanner, seed, number), cohort_patient(site, seed, number)
        files = _write_image(folder / name, case, style, patient, seed, *(PLANTED if number == 0 else ()))
        write_phantom_seg(folder / name / "seg.dcm", case.label.array[0], files, patient, seed=seed)
    if bad:
        case, patient = cohort_case(site, scanner, seed, cases), cohort_patient(site, seed, cases)
        stem = names[0].removesuffix("_001")
        _write_image(folder / f"{stem}_gap", case, style, patient, seed, "gap")
        case, patient = cohort_case(site, scanner, seed, cases + 1), cohort_patient(site, seed, cases + 1)
        _write_image(folder / f"{stem}_text", case, style, patient, seed, "burned_in")
        _write_capture(folder / f"{stem}_text", case, patient, seed)
    return names


def cohort_patient(site: str, seed: int, number: int) -> FakePatient:
    """Whose study ``number`` (from 0) is; the two bad studies follow after the good ones."""
    return fake_patient(cohort_rng(site, seed, number, 1))


def _write_image(
    folder: Path, case: PhantomCase, style: Style, patient: FakePatient, seed: int, *faults: Fault
) -> tuple[Path, ...]:
    return write_series(
        folder,
        case.image,
        style.flavour,
        patient,
        seed=seed,
        compression=style.compression,
        description=DESCRIPTION,
        faults=faults,
    )


def _write_capture(folder: Path, case: PhantomCase, patient: FakePatient, seed: int) -> None:
    """One picture of the middle slice, as sent by a workstation."""
    middle = case.image.shape[2] // 2
    picture = Volume(case.image.array[..., middle : middle + 1], case.image.affine)
    write_series(
        folder,
        picture,
        Flavour.SC,
        patient,
        seed=seed,
        series_number=90,
        description="screen",
        faults=["unflagged_text"],
    )
