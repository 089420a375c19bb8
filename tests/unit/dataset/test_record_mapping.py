from pathlib import Path
from typing import Any

import pytest

# pytest puts this folder on the path, mypy does not.
from record_cases import MAPPING, mapping, outcome_task, tabular_task  # type: ignore[import-not-found]

from radfed.dataset.layout import Observed
from radfed.dataset.mapping_check import check_mapping
from radfed.dataset.record_rows import read_record, takes
from radfed.dataset.records import Record, record_digest
from radfed.dataset.records_mapping import TableMapping, read_mapping
from radfed.dataset.tables import Row
from radfed.errors import DataError, InvalidInputError
from radfed.job import find_job, shipped_jobs
from radfed.task import OutcomeTask, read_task

GOOD = {"image_id": "1", "patient": "p", "age": "50", "sex": "f", "crp": "12", "icu": "1"}
COVARIATES: dict[str, Any] = MAPPING["covariates"]


def covariates(how: TableMapping, **fields: str | None) -> dict[str, float | str]:
    record = read_record(Row(2, {**GOOD, **fields}), how, tabular_task())
    return dict(record.covariates)


def with_crp(**crp: object) -> TableMapping:
    how: TableMapping = mapping(image=None, covariates={**COVARIATES, "crp": {"column": "crp", **crp}})
    return how


@pytest.mark.parametrize(
    ("how", "text", "value"),
    [
        ({}, "12.5", 12.5),
        ({"factor": 10}, "12.5", 125.0),
        ({"factor": 2, "offset": 1}, "3", 7.0),
        ({"values": {"<5": 2.5}, "factor": 10}, "<5", 2.5),
        ({"values": {0: 9}}, "0.0", 9.0),
        ({"missing": [0]}, "0", None),
        ({"missing": [0]}, "0.0", None),
        ({}, " ", None),
        ({}, "NA", None),
        ({}, None, None),
    ],
)
def test_numbers(how: dict[str, object], text: str | None, value: float | None) -> None:
    assert covariates(with_crp(**how), crp=text).get("crp") == value


@pytest.mark.parametrize(("day", "there"), [("-3", True), ("1", True), ("1.5", False), ("-4", False), ("", False)])
def test_a_value_counts_only_near_the_image(day: str, there: bool) -> None:
    how = with_crp(within={"column": "icu", "lower": -3, "upper": 1})
    record = read_record(Row(2, {**GOOD, "icu": day}), how.model_copy(update={"outcome": ABSENT}), tabular_task())
    assert ("crp" in record.covariates) == there


ABSENT = TableMapping.check({"outcome": {"column": "sex", "present": "icu", "absent": "no_icu"}}, "test").outcome


def test_decimal_commas() -> None:
    how = with_crp().model_copy(update={"decimal": ","})
    assert covariates(how, crp="123,5")["crp"] == 123.5
    assert covariates(how, age="0.100,0")["age"] == 100.0


@pytest.mark.parametrize(
    ("outcome", "text", "said"),
    [
        ({"values": {0: "no_icu", 1: "icu"}}, "1.0", "icu"),
        ({}, "no_icu", "no_icu"),
        ({"threshold": 2, "above": "icu", "up_to": "no_icu"}, "2", "no_icu"),
        ({"threshold": 2, "above": "icu", "up_to": "no_icu"}, "2.1", "icu"),
        ({"present": "icu", "absent": "no_icu"}, "-4", "icu"),
        ({"present": "icu", "absent": "no_icu"}, "", "no_icu"),
    ],
)
def test_classes(outcome: dict[str, object], text: str, said: str) -> None:
    how = mapping(image=None, outcome={"column": "icu", **outcome})
    assert read_record(Row(2, {**GOOD, "icu": text}), how, tabular_task()).outcome == said


def test_an_endless_time_is_refused() -> None:
    task = tabular_task(kind="survival", outcome={"type": "survival"})
    how = mapping(image=None, outcome=None, time={"column": "age"}, event={"column": "icu", "present": True})
    assert read_record(Row(2, {**GOOD, "icu": ""}), how, task).outcome == Observed(time=50, event=False)
    with pytest.raises(DataError, match="a time must be finite and not below 0"):
        read_record(Row(2, {**GOOD, "age": "-1", "crp": "40"}), with_age_free(how), task)


def with_age_free(how: TableMapping) -> TableMapping:
    """The same, but age comes from another column than the time."""
    return how.model_copy(update={"covariates": {**how.covariates, "age": with_crp().covariates["crp"]}})


def test_rows_are_chosen_by_text() -> None:
    row = Row(2, {"site": "a", "view": "1.0"})
    assert takes(row, {"site": ("a", "b"), "view": ("1",)})
    assert not takes(row, {"site": ("b",)})
    assert not takes(Row(2, {"site": None}), {"site": ("a",)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"covariates": {"age": COVARIATES["age"], "sex": COVARIATES["sex"]}}, "covariates.crp: is missing; null says"),
        (
            {"covariates": {**COVARIATES, "ldh": {"column": "x"}}},
            "covariates.ldh: is not known to the task; it has: age",
        ),
        ({"covariates": {**COVARIATES, "age": None}}, "covariates.age: the task requires it"),
        (
            {"covariates": {**COVARIATES, "sex": {"column": "sex", "values": {"w": "woman"}}}},
            "covariates.sex.values: got 'woman'; the task knows: female, male",
        ),
        (
            {"covariates": {**COVARIATES, "crp": {"column": "crp", "values": {"low": "few"}}}},
            "covariates.crp.values: a numeric covariate needs numbers, got 'few'",
        ),
        (
            {"covariates": {**COVARIATES, "crp": {"column": "crp", "unit": "mg/dL"}}},
            "covariates.crp.unit: the table has mg/dL, the task needs mg/L; give the factor",
        ),
        (
            {"outcome": {"column": "icu", "values": {1: "ward"}}},
            "outcome: got the class.es. ward; the task knows: no_icu",
        ),
        ({"outcome": None}, "outcome: is needed by an outcome of the type multiclass"),
        ({"event": {"column": "icu"}}, "event: does not belong to an outcome of the type multiclass"),
        ({"image": {"column": "image_id"}}, "image: the task has no image"),
        ({"label": {"column": "image_id"}}, "label: is for segmentation tasks"),
    ],
)
def test_a_mapping_that_does_not_fit_the_task_is_refused(changes: dict[str, object], words: str) -> None:
    content = {**MAPPING, "image": None, **changes}
    how = TableMapping.check({key: value for key, value in content.items() if value is not None}, "test")
    with pytest.raises(InvalidInputError, match=f"mapping: {words}"):
        check_mapping(how, tabular_task())


def test_what_a_site_does_not_measure_is_said_with_null() -> None:
    how = mapping(image=None, covariates={**COVARIATES, "crp": None})
    check_mapping(how, tabular_task())
    assert "crp" not in covariates(how)
    assert "crp" not in how.columns()


def test_an_image_task_needs_images() -> None:
    with pytest.raises(InvalidInputError, match="mapping: image: the task has an image"):
        check_mapping(mapping(image=None), outcome_task())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("outcome: {column: a, values: {no: x}}", "YAML reads this as False; put quotes around the word"),
        ("outcome: {column: a, values: {a: x}, present: y, absent: z}", "got more than one"),
        ("outcome: {column: a, threshold: 1, above: x}", "threshold, above and up_to go together"),
        ("image: {column: a, pattern: a.png}", "pattern must hold {} once"),
        ("image: {column: a, attribute: PatientName}", "PatientID"),
        ("covariates: {age: {col: a}}", "unknown key"),
        ("split: {column: a, values: {b: holdout}}", "'training', 'validation' or 'test'"),
        ("covariates: {sex: {column: a, values: {1: yes}}}", "YAML reads this as True; put quotes"),
    ],
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mapping.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=words):
        read_mapping(tmp_path / "mapping.yaml")


def test_where_of_the_command_line_replaces_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("where: {site: [a], view: [1, pa]}")
    how = read_mapping(tmp_path / "mapping.yaml", ["site=b", "site=c=d"])
    assert how.where == {"site": ("b", "c=d"), "view": ("1", "pa")}
    with pytest.raises(InvalidInputError, match="must be COLUMN=VALUE"):
        read_mapping(tmp_path / "mapping.yaml", ["site"])


def test_images_without_a_record_keep_their_digest() -> None:
    assert record_digest("f" * 64, Record()) == "f" * 64
    assert record_digest("f" * 64, Record(split="test")) == "f" * 64


def test_every_part_of_a_record_is_in_its_digest() -> None:
    records = [
        Record({"age": 1.0}),
        Record({"age": 2.0}),
        Record({"crp": 1.0}),
        Record(outcome="a"),
        Record(outcome=("a",)),
        Record(outcome=Observed(time=1, event=True)),
        Record(outcome=Observed(time=1, event=False)),
    ]
    digests = [record_digest(image, record) for image in (None, "f" * 64) for record in records]
    assert len(set(digests)) == len(digests)
    assert record_digest(None, Record({"b": 1.0, "a": "x"})) == record_digest(None, Record({"a": "x", "b": 1.0}))


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[3] / "jobs").glob("*/mapping.yaml")), ids=lambda file: file.parent.name
)
def test_every_shipped_mapping_fits_its_task(file: Path) -> None:
    check_mapping(read_mapping(file), read_task(file.parent / "task.yaml"))


def test_the_shipped_jobs_that_need_a_mapping_have_one() -> None:
    for name, folder in shipped_jobs().items():
        if isinstance(find_job(name).task, OutcomeTask):
            assert (folder / "mapping.yaml").is_file(), name
