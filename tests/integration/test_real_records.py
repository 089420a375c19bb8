"""Public records and pictures of the shipped jobs, where they are present (see README, RADFED_DATA)."""

from pathlib import Path

import pytest

from radfed.dataset.ingest import IngestReport, IngestSettings
from radfed.dataset.ingest_records import ingest_records
from radfed.dataset.layout import Dataset
from radfed.dataset.records_mapping import read_mapping
from radfed.errors import InvalidInputError
from radfed.task import read_task
from radfed.workflow.cohorts import find_data

JOBS = Path(__file__).parents[2] / "jobs"
HOSPITALS = {
    "cleveland": (303, {"no_disease": 164, "disease": 139}),
    "hungarian": (294, {"no_disease": 188, "disease": 106}),
    "switzerland": (123, {"no_disease": 8, "disease": 115}),
    "va": (200, {"no_disease": 51, "disease": 149}),
}


def data(name: str) -> Path:
    try:
        return find_data(name)
    except InvalidInputError:
        pytest.skip(f"{name} is not under $RADFED_DATA")


def run(job: str, source: Path, out: Path, table: Path | None = None, *where: str) -> IngestReport:
    settings = IngestSettings("site", bytes(32), out.with_suffix(".csv"), task=read_task(JOBS / job / "task.yaml"))
    return ingest_records(source, out, settings, read_mapping(JOBS / job / "mapping.yaml", where), table)


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_heart_disease_of_each_hospital(tmp_path: Path, hospital: str) -> None:
    table = data("uci_heart_4hospitals") / "heart_disease.csv"
    report = run("heart_disease_tabular", table, tmp_path / "out", None, f"site={hospital}")
    assert (report.cases, report.outcomes) == HOSPITALS[hospital]
    assert report.quarantined == 0
    if hospital == "switzerland":  # there cholesterol was not measured, and written as 0
        assert report.missing["cholesterol"] == report.cases


@pytest.mark.parametrize(("projection", "cases", "icu"), [("ap", 138, 128), ("pa", 43, 7)])
def test_radiographs_with_laboratory_values(tmp_path: Path, projection: str, cases: int, icu: int) -> None:
    source = data("hannover_covid_cxr")
    where = f"projection={projection}"
    report = run("covid_icu_multimodal", source, tmp_path / "out", source / "data.csv", where)
    assert (report.cases, report.outcomes["icu"], report.quarantined) == (cases, icu, 0)
    assert 0 < report.missing["crp"] < cases
    found = Dataset.read(tmp_path / "out").cases
    values = [case.covariates["crp"] for case in found if "crp" in case.covariates]
    assert all(isinstance(value, float) and 0 <= value < 400 for value in values)


def test_cine_slices_with_masks(tmp_path: Path) -> None:
    source = data("sunnybrook_lv")
    where = "pathology_group=N"
    report = run("lv_segmentation_2d", source, tmp_path / "out", source / "index.csv", where)
    assert (report.cases, report.quarantined) == (108, 0)
    assert all(case.label_volumes[1] > 0 for case in Dataset.read(tmp_path / "out").cases)
