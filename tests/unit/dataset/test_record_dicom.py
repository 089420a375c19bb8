"""Records joined with DICOM by attributes of the headers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

# pytest puts this folder on the path, mypy does not.
from dicom_cases import a_patient, write_study  # type: ignore[import-not-found]
from record_cases import outcome_task  # type: ignore[import-not-found]

from radfed.dataset.ingest import IngestReport, IngestSettings
from radfed.dataset.ingest_records import ingest_records
from radfed.dataset.layout import Dataset
from radfed.dataset.records_mapping import TableMapping
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.phantoms_dicom import Flavour, write_series
from radfed.imaging.volume import Volume

NO_COVARIATES = {"kind": "classification", "covariates": None}
PLANES = outcome_task(**NO_COVARIATES)
VOLUMES = outcome_task(**NO_COVARIATES, image={"channels": [{"name": "mr"}], "dimensions": 3, "size": [8, 8, 8]})


def header(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True)


def radiograph(folder: Path, number: int) -> Path:
    """One CR image that says that no text is burned in."""
    pixels = np.random.default_rng(number).integers(0, 4000, size=(1, 12, 9, 1)).astype(np.int32)
    volume = Volume(pixels, np.diag([-0.4, -0.3, 1.0, 1.0]))
    (path,) = write_series(folder, volume, Flavour("cr"), a_patient(number // 2), seed=number)
    made = pydicom.dcmread(path)
    made.BurnedInAnnotation = "NO"
    made.AccessionNumber = f"A{number}"
    made.save_as(path)
    return path


def run(
    source: Path, table: str, settings: IngestSettings, tmp_path: Path, attribute: str | None, **how: object
) -> IngestReport:
    (tmp_path / "table.csv").write_text(table)
    image = {"column": "key", "attribute": attribute}
    mapping = TableMapping.check({"case": "key", "image": image, "outcome": {"column": "icu"}} | how, "mapping.yaml")
    return ingest_records(source, tmp_path / "out", settings, mapping, tmp_path / "table.csv")


@pytest.mark.parametrize("attribute", ["AccessionNumber", "SOPInstanceUID", "SeriesInstanceUID", None])
def test_radiographs_are_found_wherever_they_lie(
    settings: IngestSettings, tmp_path: Path, attribute: str | None
) -> None:
    paths = [radiograph(tmp_path / "in" / str(number), number) for number in range(4)]
    keys = [
        str(header(path)[attribute].value) if attribute else str(path.relative_to(tmp_path / "in")) for path in paths
    ]
    table = "key,icu\n" + "".join(f"{key},{'icu' if n % 2 else 'no_icu'}\n" for n, key in enumerate(keys))
    chosen = replace(settings, task=PLANES, deidentification=DeidSettings(ocr=False))
    report = run(tmp_path / "in", table, chosen, tmp_path, attribute)
    # Whose they are the headers say.
    assert (report.cases, report.patients, report.reasons) == (4, 2, {})
    dataset = Dataset.read(tmp_path / "out")
    assert {case.modality for case in dataset.cases} == {"CR"}
    assert {case.projection for case in dataset.cases} == {"AP"}
    assert all(case.sex and case.age_band for case in dataset.cases)
    assert all(case.scanner is not None and case.size == (12, 9, 1) for case in dataset.cases)
    text = "".join(path.read_text() for path in (tmp_path / "out").glob("*.json*"))
    assert not [value for value in (*keys, a_patient(0).family) if value in text]


def test_what_may_show_a_name_is_refused_as_without_a_table(settings: IngestSettings, tmp_path: Path) -> None:
    for number in range(4):
        path = radiograph(tmp_path / "in" / str(number), number)
    made = pydicom.dcmread(path)
    made.BurnedInAnnotation = "YES"
    made.save_as(path)
    chosen = replace(settings, task=PLANES, deidentification=DeidSettings(ocr=False))
    table = "key,icu\nA0,icu\nA1,icu\nA2,no_icu\nA3,no_icu\nA9,icu\n"
    report = run(tmp_path / "in", table, chosen, tmp_path, "AccessionNumber")
    assert (report.cases, report.reasons) == (3, {"burned_in_text": 1, "no_image": 1})


def test_volumes_are_found_and_several_series_are_not_guessed_between(settings: IngestSettings, tmp_path: Path) -> None:
    studies = []
    for number in range(3):
        write_study(tmp_path / "in" / f"{number}-a", number)
        studies.append(header(next((tmp_path / "in" / f"{number}-a").iterdir())).StudyInstanceUID)
    write_study(tmp_path / "in" / "2-b", 2, series_number=2)
    table = "key,icu\n" + "".join(f"{study},icu\n" for study in studies)
    report = run(tmp_path / "in", table, replace(settings, task=VOLUMES), tmp_path, "StudyInstanceUID")
    assert (report.cases, report.reasons) == (2, {"ambiguous_series": 1})
    assert all(case.size == (36, 32, 8) for case in Dataset.read(tmp_path / "out").cases)
