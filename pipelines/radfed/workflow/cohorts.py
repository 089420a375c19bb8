"""Hospitals for the demo: phantoms made here, or a public dataset dealt out to sites."""

import csv
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from radfed.dataset.sources import find_cases
from radfed.errors import InvalidInputError
from radfed.imaging.phantoms import SCANNERS
from radfed.imaging.phantoms_dicom import STYLES, write_dicom_cohort
from radfed.workers import workers

DATA_FOLDER = "RADFED_DATA"
DEFAULT_DATA = "~/.cache/radfed/data"
PHANTOMS = "phantoms"
PHANTOM_CASES = 24
SITES = 3
JOBS: Mapping[str, str] = {PHANTOMS: "phantom_segmentation", "msd_hippocampus": "hippocampus_segmentation"}
"""The job that the demo runs on each dataset it knows."""

SPLIT_SEEDS: Mapping[str, int] = {"msd_hippocampus": 87}
"""Splits are drawn patient by patient, so a small site's share varies. Of the seeds 0 to 199 this one comes closest to
20 % test and 10 % validation cases at each of the three sites; it was chosen by these counts alone, before training."""

_SITE_COLUMNS = ("site", "intensity_domain")


def make_phantoms(folder: Path, seed: int, cases: int = PHANTOM_CASES) -> dict[str, Path]:
    """Write the DICOM exports of three made-up hospitals with scanners and ways of storing of their own.

    No hospital is without bad studies: one lacks a slice, one has a name burned in, and one hospital forgot a label.

    Returns:
        The folder of each site.
    """
    works = [_Hospital(folder / name, name, seed, number, cases) for number, name in enumerate(list(SCANNERS)[:SITES])]
    with workers() as pool:
        for outcome in pool.map(_write_hospital, works, timeout=600):
            if outcome.error is not None:
                raise outcome.error
    (works[-1].folder / f"phantom_{works[-1].name}_001" / "seg.dcm").unlink()
    return {work.name: work.folder for work in works}


@dataclass(frozen=True)
class _Hospital:
    folder: Path
    name: str
    seed: int
    number: int
    cases: int


def _write_hospital(work: _Hospital) -> None:
    scanner, style = SCANNERS[work.name], STYLES[work.number]
    seed = work.seed * SITES + work.number
    write_dicom_cohort(work.folder, work.name, scanner, work.cases, seed=seed, style=style)


def find_data(name: str) -> Path:
    """The folder of a public dataset: a path, or a name under ``$RADFED_DATA`` or ``~/.cache/radfed/data``.

    Raises:
        InvalidInputError: there is no such folder.
    """
    base = Path(os.environ.get(DATA_FOLDER, DEFAULT_DATA)).expanduser()
    for candidate in (Path(name), base / name):
        if candidate.is_dir():
            return candidate
    raise InvalidInputError(
        f"--data {name}: there is neither a folder {name} nor {base / name}. Set {DATA_FOLDER} to the folder that "
        "holds it, or fetch it with --download; without --data the demo makes phantoms"
    )


def deal_out(source: Path, folder: Path) -> dict[str, Path]:
    """Deal the cases of an MSD folder to sites, by ``index.csv`` where it is there, else evenly by case.

    Files are linked, not copied.

    Returns:
        The folder of each site.
    """
    known = _read_index(source / "index.csv")
    folders: dict[str, Path] = {}
    for case in find_cases(source).cases:
        if case.place == "stray" or not case.images or case.label is None:
            continue
        site = known.get(case.id) or _draw_site(case.id)
        root = folders.setdefault(site, folder / site)
        for part, file in (("imagesTr", case.images[0]), ("labelsTr", case.label)):
            (root / part).mkdir(parents=True, exist_ok=True)
            link = root / part / file.name
            if not link.exists():
                link.symlink_to(file.resolve())
    if not folders:
        raise InvalidInputError(f"{source}: holds no pair of image and label in imagesTr/ and labelsTr/")
    return dict(sorted(folders.items()))


def download(name: str, folder: Path) -> Path:
    """Fetch a dataset from its official address, checked by its digest; a whole archive is not fetched twice.

    Raises:
        InvalidInputError: the demo does not know where the dataset is published.
    """
    from monai.apps import DecathlonDataset, download_and_extract

    tasks = {"msd_hippocampus": "Task04_Hippocampus"}
    if name not in tasks:
        raise InvalidInputError(f"--download: got {name!r}; known are: {', '.join(tasks)}")
    task = tasks[name]
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{task}.tar"
    download_and_extract(DecathlonDataset.resource[task], archive, folder, hash_val=DecathlonDataset.md5[task])
    return folder / task


def _read_index(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = next((name for name in _SITE_COLUMNS if rows and name in rows[0]), None)
    if column is None or "id" not in rows[0]:
        raise InvalidInputError(f"{path}: needs the columns id and {' or '.join(_SITE_COLUMNS)}")
    return {row["id"]: row[column].replace("_", "-") for row in rows}


def _draw_site(case: str) -> str:
    return f"site-{int(hashlib.sha256(case.encode()).hexdigest(), 16) % SITES + 1}"
