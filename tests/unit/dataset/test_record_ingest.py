"""Tables joined with pictures: what becomes a case, and what each kind of bad input is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# pytest puts this folder on the path, mypy does not.
from record_cases import (  # type: ignore[import-not-found]
    mapping,
    outcome_task,
    picture,
    rows,
    tabular_task,
    write_source,
    write_table,
)

from radfed.dataset.check import check
from radfed.dataset.checks import REASONS
from radfed.dataset.ingest import IngestReport, IngestSettings
from radfed.dataset.ingest_records import ingest_records
from radfed.dataset.layout import Case, Dataset, Observed
from radfed.dataset.pseudonyms import read_map
from radfed.dataset.records_mapping import TableMapping
from radfed.errors import DatasetRefusedError, InvalidInputError
from radfed.imaging.nifti import write_image
from radfed.imaging.plane import plane
from radfed.task import OutcomeTask

Table = list[dict[str, str]]
TABULAR = mapping(image=None)


@pytest.fixture
def run(settings: IngestSettings, tmp_path: Path) -> Callable[..., IngestReport]:
    """Ingest ``source`` into ``out``."""

    def ingest(
        source: Path, task: OutcomeTask | None = None, how: TableMapping | None = None, table: Path | None = None
    ) -> IngestReport:
        chosen = replace(settings, task=task or outcome_task())
        given = table or (source / "table.csv" if source.is_dir() else None)
        return ingest_records(source, tmp_path / "out", chosen, how or mapping(), given)

    return ingest


@pytest.fixture
def tabular(run: Callable[..., IngestReport], tmp_path: Path) -> Callable[..., IngestReport]:
    """Ingest rows without pictures."""

    def ingest(content: Table, task: OutcomeTask | None = None, how: TableMapping | None = None) -> IngestReport:
        return run(write_table(tmp_path / "t.csv", content), task or tabular_task(), how or TABULAR)

    return ingest


def cases_of(out: Path, settings: IngestSettings) -> dict[str, Case]:
    raw = read_map(settings.pseudonyms)
    return {raw[case.id]: case for case in Dataset.read(out).cases}


def reasons_of(out: Path, settings: IngestSettings) -> dict[str, str]:
    raw = read_map(settings.pseudonyms)
    lines = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    return {raw[line["id"]]: line["reason"] for line in lines}


def details_of(out: Path) -> str:
    return (out / "quarantine.jsonl").read_text()


def test_rows_and_pictures_become_cases(
    run: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path
) -> None:
    report = run(write_source(tmp_path / "source", rows()))
    assert (report.cases, report.patients, report.quarantined) == (12, 6, 0)
    assert report.outcomes == {"no_icu": 6, "icu": 6}
    assert report.missing == {"age": 0, "sex": 0, "crp": 1}
    case = cases_of(tmp_path / "out", settings)["im02"]
    assert case.covariates == {"age": 42.0, "sex": "female", "crp": 2.5}
    assert case.outcome == "no_icu"
    assert (case.channels, case.size, case.source_orientation) == (1, (10, 14, 1), "LPS")
    assert "crp" not in cases_of(tmp_path / "out", settings)["im03"].covariates
    dataset = Dataset.read(tmp_path / "out")
    # In RAS both axes of a picture run the other way.
    assert np.array_equal(dataset.image(case).array[0, ::-1, ::-1, 0].T, picture(2).astype(np.float32))
    assert check(dataset, outcome_task()).problems == ()


def test_no_raw_id_is_in_the_dataset(run: Callable[..., IngestReport], tmp_path: Path) -> None:
    run(write_source(tmp_path / "source", rows()))
    texts = [path.read_text() for path in (tmp_path / "out").glob("*.json*")]
    names = [path.name for path in (tmp_path / "out").rglob("*")]
    assert not [word for word in ("Miller", "im0", str(tmp_path)) if any(word in text for text in [*texts, *names])]


def test_a_patient_is_in_one_split(run: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path) -> None:
    run(write_source(tmp_path / "source", rows(20)))
    found = cases_of(tmp_path / "out", settings)
    assert all(found[f"im{n:02d}"].split == found[f"im{n + 1:02d}"].split for n in range(0, 20, 2))
    assert len({case.split for case in found.values()}) > 1


def test_records_without_images(tabular: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path) -> None:
    content = rows()
    # Two patients may be alike in all that is known of them.
    content[5] |= {key: content[1][key] for key in ("age", "sex", "crp", "icu")}
    report = tabular(content)
    assert report.cases == 12
    case = cases_of(tmp_path / "out", settings)["im05"]
    assert (case.image, case.size, case.channels, case.pixels) == (None, None, 0, None)
    assert case.digest == cases_of(tmp_path / "out", settings)["im01"].digest
    assert not list((tmp_path / "out/images").iterdir())
    assert check(Dataset.read(tmp_path / "out"), tabular_task()).problems == ()


def test_one_table_of_several_sites(
    tabular: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path
) -> None:
    how = TABULAR.model_copy(update={"where": {"site": ("b",)}})
    report = tabular(rows(), how=how)
    assert sorted(cases_of(tmp_path / "out", settings)) == [f"im{n:02d}" for n in range(1, 12, 2)]
    assert "are of the class 'icu': this site alone teaches no difference; it can take part" in report.warnings[-1]
    with pytest.raises(InvalidInputError, match="none of 12 rows is taken by where: site = c"):
        tabular(rows(), how=TABULAR.model_copy(update={"where": {"site": ("c",)}}))


def test_one_class_only_is_a_warning_of_the_check_too(tabular: Callable[..., IngestReport], tmp_path: Path) -> None:
    tabular([row | {"icu": "1"} for row in rows()])
    report = check(Dataset.read(tmp_path / "out"), tabular_task())
    assert report.ok
    assert "are of the class 'icu'" in report.warnings[0]


BAD_ROWS = [
    ({"crp": "600"}, "implausible_value", "crp is above the plausible range of 0 to 500 mg/L"),
    ({"age": "-1"}, "implausible_value", "age is below the plausible range of 0 to 120 a"),
    ({"age": ""}, "missing_value", "age is missing, and the task requires it"),
    ({"age": "NA"}, "missing_value", "age is missing"),
    ({"sex": "secret"}, "unknown_value", "sex has a value that is none of: female, male"),
    ({"crp": "Miller"}, "not_a_number", "column 'crp': holds text that is no number"),
    ({"crp": "inf"}, "not_a_number", "crp must be a finite number"),
    ({"icu": ""}, "no_outcome", "nobody says what became of the case"),
    ({"icu": "7"}, "unknown_outcome", "the outcome is none of the task's: no_icu, icu"),
    ({"patient": ""}, "no_patient", "does not say which case of which patient"),
]


@pytest.mark.parametrize(("change", "reason", "words"), BAD_ROWS)
def test_a_bad_row_is_quarantined_by_its_number(
    tabular: Callable[..., IngestReport],
    settings: IngestSettings,
    tmp_path: Path,
    change: dict[str, str],
    reason: str,
    words: str,
) -> None:
    content = rows()
    content[4] |= change
    assert tabular(content).cases == 11
    assert reasons_of(tmp_path / "out", settings) == {"im04": reason}
    details = details_of(tmp_path / "out")
    assert words in details
    assert "row 6" in details
    assert not [value for value in ("600", "Miller", "secret") if value in details]


def test_two_rows_of_one_case_are_refused(
    tabular: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path
) -> None:
    content = rows()
    content[7]["image_id"] = "im04"
    assert tabular(content).cases == 10
    assert reasons_of(tmp_path / "out", settings) == {"im04": "duplicate_row"}


def test_too_many_wrong_units_write_nothing(tabular: Callable[..., IngestReport], tmp_path: Path) -> None:
    said = r"12 were refused: implausible_value 12\. Most often: age is above the plausible range .* another unit\?"
    with pytest.raises(DatasetRefusedError, match=said):
        tabular([row | {"age": "1500"} for row in rows()])
    assert not (tmp_path / "out").exists()


def test_every_reason_is_documented() -> None:
    used = {reason for _, reason, _ in BAD_ROWS} | {"duplicate_row", "mixed_depth", "no_image", "no_split"}
    assert used <= set(REASONS)


def save(array: Any) -> Callable[[Path], None]:  # noqa: ANN401 - of any depth and number of channels
    return lambda path: Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (Path.unlink, "no_image"),
        (save(picture(4, np.uint16)), "mixed_depth"),
        (save(np.stack([picture(4), picture(5), picture(6)], axis=-1)), "colour_image"),
        (save(picture(4) > 100), "bit_depth"),
        (save(np.full((14, 10), 7, np.uint8)), "constant_image"),
        (save(picture(1)), "duplicate"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "unreadable"),
        (lambda path: path.write_bytes(b"no picture"), "unreadable"),
    ],
)
def test_a_bad_picture_is_quarantined(
    run: Callable[..., IngestReport],
    settings: IngestSettings,
    tmp_path: Path,
    spoil: Callable[[Path], object],
    reason: str,
) -> None:
    source = write_source(tmp_path / "source", rows())
    spoil(source / "png/im04.png")
    assert run(source).cases == 11
    assert reasons_of(tmp_path / "out", settings) == {"im04": reason}
    assert len(list((tmp_path / "out/images").iterdir())) == 11


@pytest.mark.parametrize(("upper", "depth"), [(255, np.uint16), (4095, np.uint8)])
def test_pictures_that_are_all_of_another_depth_than_the_tasks_window_are_refused(
    run: Callable[..., IngestReport], tmp_path: Path, upper: int, depth: type[np.unsignedinteger[Any]]
) -> None:
    """They agree with each other, and would all be white, or all black."""
    source = write_source(tmp_path / "source", rows())
    for number, path in enumerate(sorted((source / "png").iterdir())):
        Image.fromarray(picture(number, depth)).save(path)
    image = outcome_task().model_dump(mode="json")["image"]
    window = {"rule": "window", "lower": 0, "upper": upper}
    with pytest.raises(DatasetRefusedError, match=r"mixed_depth 12.* is for values of (8|16) bits"):
        run(source, outcome_task(image=image | {"intensity": window}))


@pytest.mark.parametrize("name", ["", "../../secret"])
def test_a_row_that_names_no_picture_of_the_source_is_quarantined(
    run: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path, name: str
) -> None:
    source = write_source(tmp_path / "source", rows())
    (tmp_path / "secret.png").write_bytes((source / "png/im01.png").read_bytes())
    columns = ("id", "image_id", "patient", "age", "sex", "crp", "icu")
    content = [row | {"id": row["image_id"]} for row in rows()]
    content[4]["image_id"] = name
    write_table(source / "table.csv", content, columns)
    run(source, how=mapping(case="id"))
    assert reasons_of(tmp_path / "out", settings) == {"im04": "no_image"}


def test_pictures_that_no_row_names_are_counted(run: Callable[..., IngestReport], tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", rows())
    Image.fromarray(picture(99)).save(source / "png/more.png")
    how = mapping().model_copy(update={"where": {"site": ("a",)}})
    # Those of the other site's rows are named.
    assert "1 images are named by no row of the table" in run(source, how=how).warnings


def test_volumes_and_planes_are_told_apart(
    run: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "source", rows())
    for path in (source / "png").iterdir():
        path.unlink()
    for seed in range(12):
        array = np.random.default_rng(seed).normal(size=(1, 8, 8, 1 if seed == 4 else 8)).astype(np.float32)
        volume = replace(plane(picture(0)), array=array)
        write_image(source / "png" / f"im{seed:02d}.nii.gz", volume)
    how = mapping(image={"column": "image_id", "pattern": "png/{}.nii.gz"})
    image = {"channels": [{"name": "ct"}], "dimensions": 3, "size": [8, 8, 8]}
    run(source, outcome_task(image=image), how)
    assert reasons_of(tmp_path / "out", settings) == {"im04": "not_a_volume"}
    with pytest.raises(DatasetRefusedError, match="not_a_plane 11"):
        run(source, how=how)


def test_a_missing_column_is_named(tabular: Callable[..., IngestReport], tmp_path: Path) -> None:
    how = mapping(image=None, covariates={**mapping().model_dump()["covariates"], "crp": {"column": "CRP (mg/l)"}})
    with pytest.raises(InvalidInputError, match=r"no column 'CRP \(mg/l\)' \(covariates.crp\); there are: image_id"):
        tabular(rows(), how=how)


@pytest.mark.parametrize("stated", [True, False])
def test_splits_of_the_table_hold(
    tabular: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path, stated: bool
) -> None:
    how = mapping(image=None, split={"column": "site", "values": {"a": "training", "b": "validation"}})
    content = [row | {"site": "ab"[n // 2 % 2]} for n, row in enumerate(rows())]
    if not stated:
        content[4]["site"] = "c"
    report = tabular(content, how=how)
    assert report.splits == {"training": 6 if stated else 5, "validation": 6, "test": 0}
    assert reasons_of(tmp_path / "out", settings) == ({} if stated else {"im04": "no_split"})
    assert "the split 'test' is empty; the table states no case for it; see the mapping's split" in report.warnings


def test_a_patient_in_two_stated_splits_is_refused(tabular: Callable[..., IngestReport], tmp_path: Path) -> None:
    how = mapping(image=None, split={"column": "site", "values": {"a": "training", "b": "validation"}})
    with pytest.raises(
        InvalidInputError, match=r"6 row\(s\) put a patient into another split .* rows 2 and 3"
    ) as caught:
        tabular(rows(), how=how)
    assert "Miller" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_findings(tabular: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path) -> None:
    task = tabular_task(outcome={"type": "multilabel", "findings": ["effusion", "nodule"]})
    findings = {
        "effusion": {"column": "icu"},
        "nodule": {"column": "site", "positive": ["a"], "negative": ["b"], "missing_is_negative": True},
    }
    content = rows()
    content[1]["site"] = ""
    content[3]["site"] = "perhaps"
    report = tabular(content, task, mapping(image=None, outcome=None, findings=findings))
    found = cases_of(tmp_path / "out", settings)
    assert [found[f"im0{n}"].outcome for n in (0, 1, 5)] == [("nodule",), ("effusion",), ("effusion",)]
    assert reasons_of(tmp_path / "out", settings) == {"im03": "unknown_outcome"}
    assert report.outcomes == {"effusion": 5, "nodule": 6}


def test_survival(tabular: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path) -> None:
    task = tabular_task(kind="survival", outcome={"type": "survival"})
    how = mapping(image=None, outcome=None, time={"column": "age", "factor": 7}, event={"column": "icu"})
    content = rows()
    content[2]["icu"] = ""
    report = tabular(content, task, how)
    assert cases_of(tmp_path / "out", settings)["im01"].outcome == Observed(time=41 * 7, event=True)
    assert reasons_of(tmp_path / "out", settings) == {"im02": "no_outcome"}
    assert report.outcomes == {"event": 6, "censored": 5}


def npz(path: Path, **arrays: object) -> Path:
    content = {
        "train_images": np.stack([picture(n) for n in range(8)]),
        "train_labels": np.arange(8)[:, np.newaxis] % 2,
        "val_images": np.stack([picture(n) for n in range(8, 11)]),
        "val_labels": np.array([[0], [1], [0]]),
    }
    np.savez(path, **{key: value for key, value in (content | arrays).items() if value is not None})  # type: ignore[arg-type]
    return path


IMAGES = outcome_task(kind="classification", covariates=None)
NPZ = TableMapping.check({"outcome": {"column": "label", "values": {0: "no_icu", 1: "icu"}}}, "mapping.yaml")


def test_npz_of_the_medmnist_layout(run: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path) -> None:
    report = run(npz(tmp_path / "a.npz"), IMAGES, NPZ)
    assert report.splits == {"training": 8, "validation": 3, "test": 0}
    case = cases_of(tmp_path / "out", settings)["val-1"]
    assert (case.split, case.outcome, case.size) == ("validation", "icu", (10, 14, 1))
    dataset = Dataset.read(tmp_path / "out")
    assert np.array_equal(dataset.image(case).array[0, ::-1, ::-1, 0].T, picture(9).astype(np.float32))


def test_the_splits_of_an_npz_can_be_drawn_anew(run: Callable[..., IngestReport], tmp_path: Path) -> None:
    how = NPZ.model_copy(update={"split": None})
    assert run(npz(tmp_path / "a.npz"), IMAGES, how).splits != {"training": 8, "validation": 3, "test": 0}


def test_a_table_can_deal_an_npz_out_to_sites(
    run: Callable[..., IngestReport], settings: IngestSettings, tmp_path: Path
) -> None:
    table = tmp_path / "sites.csv"
    table.write_text("id,site,label\ntrain-0,a,0\ntrain-1,a,1\nval-2,a,0\ntrain-9,a,1\ntrain-4,b,0\n")
    how = TableMapping.check(
        {**NPZ.model_dump(exclude_unset=True), "case": "id", "where": {"site": ["a"]}}, "mapping.yaml"
    )
    run(npz(tmp_path / "a.npz"), IMAGES, how, table)
    assert set(cases_of(tmp_path / "out", settings)) == {"train-0", "train-1", "val-2"}
    assert reasons_of(tmp_path / "out", settings) == {"train-9": "no_image"}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"train_images": None, "val_images": None}, "holds no train_images"),
        ({"train_labels": None}, "train_labels must be whole numbers, a row for each image"),
        ({"train_labels": np.zeros((3, 1), int)}, "train_labels must be whole numbers, a row for each image"),
        ({"train_images": np.zeros((8, 4, 4, 3), np.uint8)}, "in colour"),
        ({"train_images": np.array([None] * 8)}, "cannot be read as npz"),
        ({"train_images": np.zeros((8, 4), np.uint8)}, r"must be numbers \(N, H, W\)"),
    ],
)
def test_another_npz_is_refused(
    run: Callable[..., IngestReport], tmp_path: Path, arrays: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        run(npz(tmp_path / "a.npz", **arrays), IMAGES, NPZ)
