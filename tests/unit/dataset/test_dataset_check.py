import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# pytest puts this folder on the path, mypy does not.
from dataset_cases import label_array  # type: ignore[import-not-found]

from radfed.dataset.check import check
from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.imaging.nifti import write_image, write_mask
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask


@pytest.fixture
def root(good: Path, settings: IngestSettings, tmp_path: Path) -> Path:
    ingest(good, tmp_path / "out", settings)
    return tmp_path / "out"


def codes(root: Path, task: SegmentationTask | None = None) -> set[str]:
    return {problem.code for problem in check(Dataset.read(root), task).problems}


def edit_cases(root: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    lines = [json.loads(line) for line in (root / "cases.jsonl").read_text().splitlines()]
    change(lines)
    (root / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_fresh_dataset_has_no_problem(root: Path, task: SegmentationTask) -> None:
    report = check(Dataset.read(root), task)
    assert report.ok
    assert report.cases == 6
    assert sum(report.splits.values()) == 6
    assert report.label_volumes[1].median == 16.0
    assert [r.median for r in report.size] == [12, 10, 8]
    assert str(root) not in report.model_dump_json()


def test_changed_voxel_is_found(root: Path) -> None:
    dataset = Dataset.read(root)
    image = dataset.image(dataset.cases[0])
    image.array[0, 0, 0, 0] += 1
    write_image(root / str(dataset.cases[0].image), image)
    report = check(dataset)
    assert [(problem.case, problem.code) for problem in report.problems] == [(dataset.cases[0].id, "digest_mismatch")]


def test_moved_image_is_found(root: Path) -> None:
    dataset = Dataset.read(root)
    image = dataset.image(dataset.cases[0])
    affine = image.affine.copy()
    affine[0, 3] += 1
    write_image(root / str(dataset.cases[0].image), Volume(image.array, affine))
    assert codes(root) == {"digest_mismatch", "affine_mismatch"}


def test_changed_label_is_found(root: Path) -> None:
    dataset = Dataset.read(root)
    write_mask(root / str(dataset.cases[0].label), label_array(values=(2, 1))[0] * 2, np.eye(4))
    assert codes(root) == {"digest_mismatch", "record_mismatch"}


def test_missing_and_stray_files_are_found(root: Path) -> None:
    first = Dataset.read(root).cases[0]
    (root / str(first.image)).rename(root / "images" / "Miller.nii.gz")
    report = check(Dataset.read(root))
    assert {problem.code for problem in report.problems} == {"missing_file", "stray_file"}
    assert "Miller" not in report.model_dump_json()


def test_broken_file_is_found(root: Path) -> None:
    (root / str(Dataset.read(root).cases[0].image)).write_bytes(b"broken")
    assert codes(root) == {"unreadable"}


def test_patient_in_two_splits_is_found(root: Path) -> None:
    def change(lines: list[dict[str, object]]) -> None:
        for line, split in zip(lines, ("training", "test"), strict=False):
            line.update(patient="pat-000000000000", split=split)

    edit_cases(root, change)
    assert "patient_in_two_splits" in codes(root)


def test_datalist_that_says_otherwise_is_found(root: Path) -> None:
    edit_cases(root, lambda lines: lines.pop())
    assert codes(root) == {"datalist_mismatch", "stray_file"}


def test_other_task_is_found(root: Path, task: SegmentationTask) -> None:
    other = SegmentationTask.check(
        {**task.model_dump(), "labels": [{"value": 1, "name": "liver"}], "limits": {"max_size_mm": [9, 99, 99]}}, "test"
    )
    assert codes(root, other) == {"implausible_size"}
    other = SegmentationTask.check({**task.model_dump(), "labels": [{"value": 1, "name": "liver"}]}, "test")
    assert codes(root, other) == {"unknown_label"}


@pytest.mark.parametrize("image", ["../../etc/passwd", "/etc/passwd", "images/../x.nii.gz"])
def test_paths_that_leave_the_dataset_are_refused(root: Path, image: str) -> None:
    edit_cases(root, lambda lines: lines[0].update(image=image))
    with pytest.raises(InvalidInputError, match=r"cases\.jsonl line 1: image"):
        Dataset.read(root)


def test_what_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="radfed ingest"):
        Dataset.read(tmp_path)


def test_splits_partition_the_cases_in_digest_order(root: Path) -> None:
    dataset = Dataset.read(root)
    parts = [dataset.split(name) for name in ("training", "validation", "test")]
    assert sorted(case.id for part in parts for case in part) == sorted(case.id for case in dataset.cases)
    for part in parts:
        assert [case.digest for case in part] == sorted(case.digest for case in part)
