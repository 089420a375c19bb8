"""OMOP and FHIR exports of the same two patients give the same table."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from radfed.cli.main import app
from radfed.dataset.clinical import Extract, flatten
from radfed.dataset.fhir import read_fhir
from radfed.dataset.omop import read_omop
from radfed.dataset.tables import read_table
from radfed.errors import InvalidInputError

CASES = "case,patient,date,file\nc1,1,2020-04-10,a.png\nc2,2,2020-05-01,b.png\nc3,3,2020-05-01,c.png\n"
CRP = [  # patient, day, value, unit
    ("1", "2020-04-06", 5.0, "mg/L"),
    ("1", "2020-04-08", 50.0, "mg/L"),
    ("1", "2020-04-11", 9.0, "mg/dL"),
    ("1", "2020-04-12", 7.0, "mg/L"),
    ("2", "2020-05-01", 3.0, "furlong"),
]
DIABETES = [("1", "2015-01-01"), ("2", "2021-01-01")]
UNITS = {"mg/L": "8751", "mg/dL": "8840", "furlong": "999"}


def extract(code: str, disease: str, units: dict[str, float], **how: object) -> Extract:
    content = {
        "measurements": {"crp": {"codes": [code], "units": units, **how}},
        "diagnoses": {"diabetes": {"codes": [disease]}},
    }
    return Extract.check(content, "extract.yaml")


def omop(folder: Path) -> Path:
    folder.mkdir()
    (folder / "PERSON.csv").write_text(
        "PERSON_ID,GENDER_CONCEPT_ID,YEAR_OF_BIRTH,MONTH_OF_BIRTH,DAY_OF_BIRTH\n1,8532,1950,4,10\n2,8507,1960,,\n"
    )
    lines = [f"{who},3020460,{day},{value},{UNITS[unit]}" for who, day, value, unit in CRP]
    header = "person_id,measurement_concept_id,measurement_date,value_as_number,unit_concept_id"
    lines += ["1,3020460,2020-04-10,,8751", "1,42,2020-04-10,1000,8751"]
    (folder / "measurement.csv").write_text("\n".join([header, *lines]) + "\n")
    lines = [f"{who},201820,{day} 08:00:00" for who, day in DIABETES]
    header = "person_id,condition_concept_id,condition_start_date"
    (folder / "condition_occurrence.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


def concept(code: str) -> dict[str, object]:
    return {"coding": [{"system": "local", "code": "x"}, {"system": "http://loinc.org", "code": code}]}


def fhir(folder: Path) -> Path:
    folder.mkdir()
    resources: list[Mapping[str, object]] = [
        {
            "resourceType": "Patient",
            "id": "1",
            "gender": "female",
            "birthDate": "1950-04-10",
            "name": [{"family": "Miller"}],
        },
        {"resourceType": "Patient", "id": "2", "gender": "male", "birthDate": "1960"},
        {"resourceType": "Encounter", "id": "1"},
    ]
    observed: list[dict[str, object]] = [
        {
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": f"Patient/{who}"},
            "code": concept("1988-5"),
            "effectiveDateTime": f"{day}T08:00:00+02:00",
            "valueQuantity": {"value": value, "unit": "whatever", "code": unit},
        }
        for who, day, value, unit in CRP
    ]
    today = observed[0] | {"effectiveDateTime": "2020-04-10"}
    resources += [
        *observed,
        today | {"status": "entered-in-error"},
        today | {"valueQuantity": {"value": 5, "code": "mg/L", "comparator": "<"}},
        today | {"code": concept("42")},
    ]
    resources += [
        {
            "resourceType": "Condition",
            "subject": {"reference": f"https://ehr/Patient/{who}"},
            "code": concept("73211009"),
            "onsetDateTime": day,
            "verificationStatus": {"coding": [{"code": status}]},
        }
        for who, day, status in (*((who, day, "confirmed") for who, day in DIABETES), ("2", "2019", "refuted"))
    ]
    (folder / "all.ndjson").write_text("\n".join(json.dumps(one) for one in resources) + "\n\n")
    return folder


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    (tmp_path / "cases.csv").write_text(CASES)
    return tmp_path / "cases.csv"


@pytest.mark.parametrize("kind", ["omop", "fhir"])
@pytest.mark.parametrize(("take", "crp"), [("nearest", "90"), ("first", "50"), ("last", "90")])
def test_values_of_around_the_day(tmp_path: Path, cases: Path, kind: str, take: str, crp: str) -> None:
    if kind == "omop":
        export, wanted = (
            read_omop(omop(tmp_path / "x")),
            extract("3020460", "201820", {"8751": 1, "8840": 10}, take=take),
        )
    else:
        export, wanted = (
            read_fhir(fhir(tmp_path / "x")),
            extract("1988-5", "73211009", {"mg/L": 1, "mg/dL": 10}, take=take),
        )
    flat = flatten(export, read_table(cases), wanted)
    assert flat.columns == ("case", "patient", "file", "age", "sex", "crp", "diabetes")
    assert flat.rows == (
        ("c1", "1", "a.png", "70", "female", crp, "1"),
        ("c2", "2", "b.png", "59", "male", "", "0"),
        ("c3", "3", "c.png", "", "", "", ""),
    )
    assert flat.warnings == (
        "1 values of crp are in a unit that extract.yaml does not list",
        "1 of 3 cases are of patients whom the export does not know",
    )


def test_the_order_of_an_export_plays_no_part(tmp_path: Path, cases: Path) -> None:
    wanted = extract("3020460", "201820", {"8751": 1, "8840": 10}, from_day=-9, to_day=9, take="first")
    folder = omop(tmp_path / "x")
    one = flatten(read_omop(folder), read_table(cases), wanted)
    header, *lines = (folder / "measurement.csv").read_text().splitlines()
    (folder / "measurement.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")
    assert flatten(read_omop(folder), read_table(cases), wanted) == one
    assert one.rows[0][5] == "5"


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("PERSON.csv", "person_id\n1\n", "has no column 'gender_concept_id'"),
        (
            "PERSON.csv",
            "person_id,gender_concept_id,year_of_birth\n1,8507,Miller\n",
            "row 2: year, month or day of birth",
        ),
        (
            "condition_occurrence.csv",
            "person_id,condition_concept_id,condition_start_date\n1,2,Miller\n",
            "row 2, condition_start_date: holds no date",
        ),
        (
            "measurement.csv",
            "person_id,measurement_concept_id,measurement_date,value_as_number,unit_concept_id\n1,2,2020-01-01,Miller,3\n",
            "row 2: value_as_number holds no number",
        ),
    ],
)
def test_a_broken_omop_export_is_refused_by_row(tmp_path: Path, file: str, content: str, words: str) -> None:
    folder = omop(tmp_path / "x")
    (folder / file).write_text(content)
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_omop(folder)
    assert "Miller" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"resourceType": "Patient", "Miller', "cannot be read as ndjson"),
        ('["Miller"]', "line 1: is no resource"),
        ('{"resourceType": "Patient", "id": "1", "birthDate": "Miller"}', "line 1: holds no date"),
    ],
)
def test_a_broken_fhir_export_is_refused_by_line(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "p.ndjson").write_text(line + "\n")
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_fhir(tmp_path)
    assert "Miller" not in str(caught.value)


def test_a_column_twice_and_a_missing_date_are_refused(tmp_path: Path, cases: Path) -> None:
    export, wanted = read_omop(omop(tmp_path / "x")), extract("3020460", "201820", {"8751": 1})
    cases.write_text("case,patient,date,age\nc1,1,2020-04-10,5\n")
    with pytest.raises(InvalidInputError, match="would have a column twice: age"):
        flatten(export, read_table(cases), wanted)
    cases.write_text("case,patient,date\nc1,1,yesterday\n")
    with pytest.raises(InvalidInputError, match=r"cases.csv row 2: holds no date"):
        flatten(export, read_table(cases), wanted)


@pytest.mark.parametrize("make", [omop, fhir])
def test_the_command_writes_a_table(tmp_path: Path, cases: Path, make: Callable[[Path], Path]) -> None:
    codes = ("3020460", "201820", {"8751": 1.0}) if make is omop else ("1988-5", "73211009", {"mg/L": 1.0})
    (tmp_path / "extract.yaml").write_text(extract(*codes).to_yaml())
    options = ["--cases", str(cases), "--extract", str(tmp_path / "extract.yaml"), "--out", str(tmp_path / "t.csv")]
    result = CliRunner().invoke(app, ["dataset", "table", str(make(tmp_path / "x")), *options, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["rows"] == 3
    assert [row.text("crp") for row in read_table(tmp_path / "t.csv").rows] == ["50", None, None]
    assert "2020" not in (tmp_path / "t.csv").read_text()


def test_a_folder_that_is_no_export_exits_2(tmp_path: Path, cases: Path) -> None:
    (tmp_path / "extract.yaml").write_text("{}")
    options = ["--cases", str(cases), "--extract", str(tmp_path / "extract.yaml"), "--out", str(tmp_path / "t.csv")]
    assert CliRunner().invoke(app, ["dataset", "table", str(tmp_path), *options]).exit_code == 2
