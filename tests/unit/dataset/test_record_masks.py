"""Pairs of pictures and masks that a table names, for segmentation in planes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# pytest puts this folder on the path, mypy does not.
from record_cases import picture  # type: ignore[import-not-found]

from radfed.dataset.check import check
from radfed.dataset.ingest import IngestReport, IngestSettings
from radfed.dataset.ingest_records import ingest_records
from radfed.dataset.layout import Dataset
from radfed.dataset.pseudonyms import read_map
from radfed.dataset.records_mapping import TableMapping
from radfed.errors import InvalidInputError
from radfed.task import SegmentationTask

TASK = SegmentationTask.check(
    {
        "name": "planes",
        "description": "test",
        "intended_use": "test",
        "channels": [{"name": "cine"}],
        "labels": [{"value": 3, "name": "ventricle"}],
        "dimensions": 2,
        "spacing": [0.2, 0.2, 1],
        "roi_size": [32, 32, 1],
        "network": {"name": "UNet"},
    },
    "test",
)
HOW = {
    "case": "id",
    "patient": "patient",
    "image": {"column": "id", "pattern": "images/{}.png"},
    "label": {"column": "id", "pattern": "labels/{}.png"},
}
MASK = np.zeros((14, 10), dtype=np.uint8)
MASK[2:5, 1:9] = 1


def write(folder: Path, masks: list[Image.Image]) -> Path:
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    lines = ["id,patient"]
    for number, mask in enumerate(masks):
        Image.fromarray(picture(number)).save(folder / f"images/s{number}.png")
        mask.save(folder / f"labels/s{number}.png")
        lines.append(f"s{number},p{number // 2}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(
    source: Path, settings: IngestSettings, tmp_path: Path, task: SegmentationTask = TASK, **changes: object
) -> IngestReport:
    mapping = TableMapping.check({**HOW, **changes}, "mapping.yaml")
    return ingest_records(source, tmp_path / "out", replace(settings, task=task), mapping, source / "table.csv")


def reasons(settings: IngestSettings, tmp_path: Path) -> dict[str, str]:
    raw = read_map(settings.pseudonyms)
    lines = [json.loads(line) for line in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    return {raw[line["id"]]: line["reason"] for line in lines}


@pytest.mark.parametrize(
    "mask",
    [
        Image.fromarray(MASK * 255),
        Image.fromarray(MASK > 0),
        Image.fromarray(MASK * 3),
    ],
    ids=["0 and 255", "1 bit", "the task's value"],
)
def test_masks_as_people_draw_them(settings: IngestSettings, tmp_path: Path, mask: Image.Image) -> None:
    values = {1: 3} if mask.mode == "1" else {}
    label = HOW["label"] | {"values": values}  # type: ignore[operator]
    report = run(write(tmp_path / "source", [mask] * 4), settings, tmp_path, label=label)
    assert (report.cases, report.patients, report.outcomes) == (4, 2, {})
    dataset = Dataset.read(tmp_path / "out")
    for case in dataset.cases:
        assert case.digest == case.pixels
        assert case.label_volumes == {3: pytest.approx(24 * 0.04)}
        assert np.array_equal(dataset.label(case).array[0, ::-1, ::-1, 0].T, MASK * 3)
    assert check(dataset, TASK).problems == ()


def test_a_mask_of_one_bit_means_the_only_label_if_that_is_1(settings: IngestSettings, tmp_path: Path) -> None:
    source = write(tmp_path / "source", [Image.fromarray(MASK > 0)] * 2)
    task = TASK.model_copy(update={"labels": (TASK.labels[0].model_copy(update={"value": 1}),)})
    run(source, settings, tmp_path, task=task)
    assert Dataset.read(tmp_path / "out").cases[0].label_volumes == {1: pytest.approx(24 * 0.04)}


def test_bad_masks_are_quarantined(settings: IngestSettings, tmp_path: Path) -> None:
    good = Image.fromarray(MASK * 3)
    bad = [
        Image.fromarray(MASK * 7),
        Image.fromarray(MASK * 0),
        Image.fromarray(MASK[:-1] * 3),
        Image.fromarray(np.stack([MASK] * 3, axis=-1)),
        good,
        good,
    ]
    source = write(tmp_path / "source", [good] * 6 + bad)
    (source / "labels/s10.png").unlink()
    (source / "labels/s11.png").write_bytes(b"no picture")
    run(source, settings, tmp_path)
    assert reasons(settings, tmp_path) == {
        "s6": "unknown_label",
        "s7": "empty_label",
        "s8": "shape_mismatch",
        "s9": "unsupported_pixels",
        "s10": "no_label",
        "s11": "unreadable",
    }


def test_a_segmentation_needs_the_masks_column(settings: IngestSettings, tmp_path: Path) -> None:
    source = write(tmp_path / "source", [Image.fromarray(MASK)])
    with pytest.raises(InvalidInputError, match="mapping: label: is needed by a segmentation task"):
        run(source, settings, tmp_path, label=None)
    with pytest.raises(InvalidInputError, match="mapping: outcome: a segmentation task has none"):
        run(source, settings, tmp_path, outcome={"column": "id"})
