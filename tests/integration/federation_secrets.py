"""Hospitals with things that must not leave: patients with names, folders with telling paths, machines with names."""

from collections.abc import Set
from pathlib import Path

from tests.integration.federation_data import TEST, TRAINING, VALIDATION, split_exactly

from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.layout import Dataset
from radfed.imaging.phantoms import SCANNERS
from radfed.imaging.phantoms_dicom import cohort_patient, planted_values, write_dicom_cohort
from radfed.job import Job

_CASES = TRAINING + VALIDATION + TEST


def folder_of(root: Path, site: str) -> Path:
    """Where a site keeps its data: a path that would give the site's owner away."""
    return root / f"vault-of-{site}-Kx7Qm2" / "Prof-Wunderlich-Study"


def host_of(site: str) -> str:
    """What a site's machine is called."""
    return f"pacs-gate-{site}-Zt9Lw4"


def write_hospital(root: Path, site: str, job: Job) -> Path:
    """A DICOM export with names in it, and the dataset that the site makes of it.

    Returns:
        The dataset.
    """
    export, dataset = folder_of(root, site) / "export", folder_of(root, site) / "dataset"
    scanner = SCANNERS.get(site, SCANNERS["north"])
    write_dicom_cohort(export, site, scanner, _CASES, seed=0, bad=False)
    patients = [cohort_patient(site, 0, number).id for number in range(_CASES)]
    split = split_exactly(patients, {"training": TRAINING, "validation": VALIDATION, "test": TEST})
    secret = site.encode().ljust(32, b"-")
    ingest(export, dataset, IngestSettings(site, secret, folder_of(root, site) / "map.csv", task=job.task, split=split))
    return dataset


def break_a_case(dataset: Path) -> None:
    """Cut a training image short, so that the trainer fails with a message that names it."""
    case = next(case for case in Dataset.read(dataset).cases if case.split == "training")
    assert case.image is not None
    image = dataset / case.image
    image.write_bytes(image.read_bytes()[:100])


def planted(root: Path, site: str, dataset: Path) -> dict[str, Set[str]]:
    """Everything of a site that must be found nowhere else, by what it is.

    Args:
        root: of ``write_hospital``.
        site: its name.
        dataset: what ``write_hospital`` returned.
    """
    names = {value for number in range(_CASES) for value in planted_values(cohort_patient(site, 0, number))}
    cases = Dataset.read(dataset).cases
    pseudonyms = {case.id for case in cases} | {case.patient for case in cases}
    return {
        # Dates of eight digits stand in many a number.
        "patient": {name for name in names if not name.isdigit()},
        "case": pseudonyms,
        "path": {folder_of(root, site).parent.name, "Prof-Wunderlich-Study"},
        "host": {host_of(site)},
    }
