from pathlib import Path

import numpy as np
import pytest
from training_world import outcome_task, write_outcome_dataset  # type: ignore[import-not-found]

from radfed.dataset.layout import Case, Dataset, Observed, Outcome
from radfed.errors import DataError
from radfed.preprocessing.picture import prepare_image
from radfed.preprocessing.records import encode
from radfed.task import OutcomeTask
from radfed.training.outcome_samples import load_outcome_samples, target_of


@pytest.fixture(scope="module")
def task() -> OutcomeTask:
    made: OutcomeTask = outcome_task("ResNet", covariates=2)
    return made


@pytest.fixture
def dataset(task: OutcomeTask, tmp_path: Path) -> Dataset:
    return Dataset.read(write_outcome_dataset(tmp_path / "data", "north", task, {"training": 5, "test": 1}, seed=1))


def test_a_sample_is_what_the_one_preprocessing_makes_of_its_case(dataset: Dataset, task: OutcomeTask) -> None:
    samples = load_outcome_samples(dataset, "training", task)
    assert [sample.case for sample in samples] == [case.id for case in dataset.split("training")]
    for sample, case in zip(samples, dataset.split("training"), strict=True):
        volume = dataset.image(case)
        assert sample.image is not None
        assert sample.record is not None
        np.testing.assert_array_equal(sample.image, prepare_image(volume.array, volume.affine, task))
        np.testing.assert_array_equal(sample.record, encode(case.covariates, task))
        assert sample.target.tolist() == [float(task.finds.index(str(case.outcome)))]
        assert [value.dtype for value in (*sample.inputs, sample.target)] == [np.float32] * 3


def test_images_of_a_split_come_from_one_file_and_records_from_the_dataset(
    dataset: Dataset, task: OutcomeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_outcome_samples(dataset, "training", task)
    (cached,) = (dataset.root / "cache").iterdir()
    assert cached.name.startswith("training-")
    monkeypatch.setattr("radfed.training.outcome_samples.prepare_image", None)
    again = load_outcome_samples(dataset, "training", task)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.inputs[0], other.inputs[0])
        np.testing.assert_array_equal(one.inputs[1], other.inputs[1])


def test_another_preprocessing_has_another_file(dataset: Dataset) -> None:
    for size in ((16, 16), (32, 32)):
        assert (
            load_outcome_samples(dataset, "training", outcome_task("ResNet", 2, size=size))[0].inputs[0].shape[1:]
            == size
        )
    assert len(list((dataset.root / "cache").iterdir())) == 2
    # The network and the outcome play no part in what an image looks like.
    load_outcome_samples(dataset, "training", outcome_task("ViT", 2, size=(32, 32)))
    assert len(list((dataset.root / "cache").iterdir())) == 2


def test_records_alone_leave_nothing_in_the_cache(tmp_path: Path) -> None:
    task = outcome_task(covariates=2, outcome="survival")
    dataset = Dataset.read(write_outcome_dataset(tmp_path / "data", "north", task, {"training": 3}, seed=1))
    samples = load_outcome_samples(dataset, "training", task)
    assert [sample.image for sample in samples] == [None] * 3
    assert not (dataset.root / "cache").exists()
    assert load_outcome_samples(dataset, "validation", task) == []


def case_with(outcome: Outcome | None) -> Case:
    return Case(
        id="case-0123456789ab",
        patient="pat-0123456789ab",
        split="training",
        digest="0" * 64,
        channels=0,
        covariates={"lab_0": 1.0},
        outcome=outcome,
    )


@pytest.mark.parametrize(
    ("kind", "outcome", "target"),
    [
        ("multiclass", "ill", [1.0]),
        ("multilabel", ("nodule",), [0.0, 1.0]),
        ("multilabel", (), [0.0, 0.0]),
        ("survival", Observed(time=2.5, event=False), [2.5, 0.0]),
    ],
)
def test_what_is_to_be_learned_of_a_case(kind: str, outcome: Outcome, target: list[float]) -> None:
    assert target_of(case_with(outcome), outcome_task(covariates=1, outcome=kind)).tolist() == target


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        ("multiclass", None, "no_outcome"),
        ("multiclass", "better", "unknown_outcome"),
        ("multilabel", "nodule", "unknown_outcome"),
        ("survival", "ill", "unknown_outcome"),
    ],
)
def test_an_outcome_that_is_none_of_the_tasks_names_the_case(kind: str, outcome: Outcome | None, reason: str) -> None:
    with pytest.raises(DataError, match=r"^case-0123456789ab: ") as refused:
        target_of(case_with(outcome), outcome_task(covariates=1, outcome=kind))
    assert refused.value.reason == reason
