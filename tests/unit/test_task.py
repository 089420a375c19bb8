from pathlib import Path
from typing import Any

import pytest

from radfed.errors import InvalidInputError
from radfed.job import find_job
from radfed.task import SegmentationTask, TaskSpec

BASE: dict[str, Any] = {
    "name": "organs",
    "description": "Two organs.",
    "intended_use": "Tests.",
    "channels": [{"name": "t1"}],
    "labels": [{"value": 1, "name": "liver"}, {"value": 2, "name": "spleen"}],
    "spacing": [1, 1, 1],
    "roi_size": [32, 32, 32],
    "network": {"name": "UNet"},
}


def with_(**changes: object) -> dict[str, Any]:
    return {**BASE, **changes}


def test_a_small_task_is_complete_by_its_defaults() -> None:
    task = SegmentationTask.check(BASE, "task.yaml")
    assert task.label_values == (1, 2)
    assert task.network.total_stride == 8


def test_yaml_goes_there_and_back() -> None:
    task = SegmentationTask.check(BASE, "task.yaml")
    assert SegmentationTask.parse(task.to_yaml(), "again") == task


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (with_(sapcing=[1, 1, 1]), ["sapcing: unknown key", "spacing", "roi_size"]),
        (with_(spacing=[0, 1, 1]), ["spacing.0", "greater than 0", "got 0"]),
        (with_(spacing=[1, float("nan"), 1]), ["spacing.1", "finite"]),
        (with_(labels=[{"value": 1, "name": "a"}, {"value": 1, "name": "b"}]), ["labels", "twice: 1"]),
        (with_(labels=[{"value": 1, "name": "a"}, {"value": 2, "name": "a"}]), ["labels", "twice: a"]),
        (with_(labels=[{"value": 0, "name": "background"}]), ["labels.0.value", "got 0"]),
        (
            with_(network={"name": "UNet", "args": {"chanels": [8, 16]}}),
            ["network.args.chanels: unknown key", "got [8, 16]", "channels, dropout, kernel_size"],
        ),
        (with_(network={"name": "Unet"}), ["network: got 'Unet'", "'UNet'", "'SwinUNETR'"]),
        (with_(network={"name": "UNet", "args": {"strides": [2]}}), ["network.args", "one entry less"]),
        (with_(network={"name": "DynUNet", "args": {"strides": [2, 2, 2, 2]}}), ["network.args", "must be 1"]),
        (with_(roi_size=[30, 32, 32]), ["roi_size must be a multiple", "8"]),
        (with_(intensity={"rule": "window", "lower": 5, "upper": 1}), ["intensity", "lower must be below upper"]),
        ({k: v for k, v in BASE.items() if k != "labels"}, ["labels: required, but missing"]),
    ],
)
def test_a_wrong_task_is_refused_with_key_value_and_choices(content: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(InvalidInputError) as refused:
        SegmentationTask.check(content, "task.yaml")
    message = str(refused.value)
    assert message.startswith("task.yaml: ")
    for part in says:
        assert part in message


def test_text_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text("- a\n- b\n")
    with pytest.raises(InvalidInputError, match="must be a mapping"):
        SegmentationTask.read(file)
    file.write_text("a: [")
    with pytest.raises(InvalidInputError, match="not valid YAML"):
        SegmentationTask.read(file)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        SegmentationTask.read(tmp_path / "none.yaml")


def test_the_digest_follows_the_content() -> None:
    one, same = SegmentationTask.check(BASE, "one"), SegmentationTask.check(dict(reversed(BASE.items())), "same")
    other = SegmentationTask.check(with_(spacing=[1, 1, 2]), "other")
    assert one.digest == same.digest != other.digest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hippocampus_segmentation", "mean Dice"),
        ("pneumonia_classification", "1 - mean Brier score"),
        ("heart_disease_tabular", "1 - mean Brier score"),
    ],
)
def test_every_kind_says_what_a_round_is_scored_by(name: str, words: str) -> None:
    assert find_job(name).task.measure.words == words


def test_a_survival_task_is_scored_by_pairs() -> None:
    content = find_job("heart_disease_tabular").task.model_dump(mode="json")
    task = TaskSpec.check(content | {"kind": "survival", "outcome": {"type": "survival"}}, "test")
    assert (task.measure.words, task.measure.over) == ("concordance", "pairs of cases")
