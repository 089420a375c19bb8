"""Segmentation tasks of 2 dimensions, and that those of 3 stay what they were."""

from typing import Any

import pytest

from radfed.errors import InvalidInputError
from radfed.job import find_job
from radfed.preprocessing.pipeline import preprocessing_digest
from radfed.task import SegmentationTask

PLANES: dict[str, Any] = {
    "name": "t",
    "description": "d",
    "intended_use": "i",
    "channels": [{"name": "c"}],
    "labels": [{"value": 1, "name": "a"}],
    "dimensions": 2,
    "spacing": [1, 1, 1],
    "roi_size": [32, 48, 1],
    "network": {"name": "UNet", "args": {"channels": [4, 8, 8], "strides": [2, 2]}},
}


def test_the_window_has_as_many_axes_as_the_task_has_dimensions() -> None:
    assert SegmentationTask.check(PLANES, "t").window == (32, 48)
    volumes = SegmentationTask.check(PLANES | {"dimensions": 3, "roi_size": [32, 48, 4]}, "t")
    assert volumes.window == (32, 48, 4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"roi_size": [32, 48, 4]}, r"roi_size must be 1 in 2 dimensions, got \(32, 48, 4\)"),
        ({"roi_size": [32, 46, 1]}, r"total stride 4 on every of its first two axes, got \(32, 46, 1\)"),
        ({"roi_size": [4, 4, 1]}, r"larger than the network's total stride 4 on at least one of its first two axes"),
        ({"dimensions": 3}, r"total stride 4 on every axis, got \(32, 48, 1\)"),
        ({"dimensions": 4}, r"dimensions: .* got 4"),
    ],
)
def test_a_roi_that_does_not_fit_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        SegmentationTask.check(PLANES | changes, "t")


@pytest.mark.parametrize(
    ("job", "contract", "cache"),
    [
        ("hippocampus_segmentation", "54560a9573c0a8f4", "e08480bc5c54be20"),
        ("phantom_segmentation", "9fe4359d3fb96210", "5e275ca0befe8b1f"),
    ],
)
def test_tasks_of_volumes_have_the_digests_that_they_had_before_there_were_planes(
    job: str, contract: str, cache: str
) -> None:
    task = find_job(job).task
    assert isinstance(task, SegmentationTask)
    assert task.digest.startswith(contract)
    assert preprocessing_digest(task).startswith(cache)
    assert "dimensions" not in task.model_dump(mode="json")
    assert SegmentationTask.check(task.model_dump(mode="json") | {"dimensions": 3}, "t").digest == task.digest


def test_planes_go_to_json_and_back_and_have_a_digest_of_their_own() -> None:
    planes = SegmentationTask.check(PLANES, "t")
    assert SegmentationTask.model_validate_json(planes.model_dump_json()) == planes
    assert SegmentationTask.parse(planes.to_yaml(), "t").digest == planes.digest
    volumes = SegmentationTask.check(PLANES | {"dimensions": 3, "roi_size": [32, 48, 4]}, "t")
    assert volumes.digest != planes.digest
    assert preprocessing_digest(volumes) != preprocessing_digest(planes)


def test_the_shipped_job_of_planes_is_one() -> None:
    task = find_job("lv_segmentation_2d").task
    assert isinstance(task, SegmentationTask)
    assert task.dimensions == 2
