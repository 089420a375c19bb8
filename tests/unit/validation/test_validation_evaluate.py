from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from radfed.dataset.layout import Dataset
from radfed.errors import DataError, InvalidInputError
from radfed.inference.sliding_window import Predictor
from radfed.metrics.policy import Outcome
from radfed.task import SegmentationTask
from radfed.validation.evaluate import evaluate
from radfed.validation.results import dump_evaluation, load_evaluation

MakePredictor = Callable[[float], Predictor]


def test_every_test_case_is_scored_under_its_pseudonyms(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: MakePredictor
) -> None:
    told: list[tuple[int, int]] = []
    found = evaluate(make_predictor(0.0), task, datasets, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 10) for done in range(1, 11)]
    assert [case.case for case in found.cases] == [case.id for data in datasets for case in data.split("test")]
    assert found.sites == ("site-a", "site-b", "site-c")
    dice = [label.dice for case in found.cases for label in case.labels if label.outcome is Outcome.COMPARED]
    assert 0.6 < min(dice) <= max(dice) < 1.0
    assert all(case.seconds > 0 for case in found.cases)


def test_a_blurred_predictor_scores_lower(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: MakePredictor
) -> None:
    sharp, blurred = (evaluate(make_predictor(width), task, datasets[1:2]) for width in (0.3, 3.0))
    for good, bad in zip(sharp.cases, blurred.cases, strict=True):
        assert sum(label.dice for label in good.labels) > sum(label.dice for label in bad.labels)


def test_volumes_are_millilitres_of_the_scanners_grid(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: MakePredictor
) -> None:
    data = datasets[1]
    found = evaluate(make_predictor(0.0), task, [data])
    first = data.split("test")[0]
    voxels = int((data.label(first).array == 4).sum())
    assert found.cases[0].labels[1].reference_ml == pytest.approx(voxels * 1.0 * 1.0 * 1.5 / 1000)


def test_a_predictor_that_finds_nothing_misses_everything(
    task: SegmentationTask, datasets: tuple[Dataset, ...]
) -> None:
    def nothing(windows: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(windows), 3, *windows.shape[2:]), dtype=np.float32)
        scores[:, 0] = 1
        return scores

    found = evaluate(nothing, task, datasets[:1])
    outcomes = [label.outcome for case in found.cases for label in case.labels]
    assert outcomes.count(Outcome.BOTH_EMPTY) == 1
    assert outcomes.count(Outcome.MISSED) == 9


def test_all_takes_every_split_and_an_empty_split_is_refused(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: MakePredictor
) -> None:
    assert len(evaluate(make_predictor(0.0), task, datasets[1:], split="all").cases) == 9
    bare = replace(datasets[2], cases=())
    with pytest.raises(InvalidInputError, match=r"no case in the split 'test' \(site-c: 0 case\(s\)\); choose another"):
        evaluate(make_predictor(0.0), task, [bare])


def test_two_datasets_of_a_site_and_datasets_of_another_task_are_refused(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: MakePredictor
) -> None:
    with pytest.raises(InvalidInputError, match="got twice: site-a"):
        evaluate(make_predictor(0.0), task, [datasets[0], datasets[0]])
    with pytest.raises(InvalidInputError, match="prepared for the task 'other', the model is for 'two_balls'"):
        evaluate(make_predictor(0.0), task, [replace(datasets[0], task="other")])


def test_a_case_without_a_reference_is_refused(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: MakePredictor
) -> None:
    case = datasets[2].split("test")[0].model_copy(update={"label": None})
    with pytest.raises(DataError, match="has no label"):
        evaluate(make_predictor(0.0), task, [replace(datasets[2], cases=(case,))])


def test_an_evaluation_is_the_same_after_a_file(
    task: SegmentationTask,
    datasets: tuple[Dataset, ...],
    make_predictor: MakePredictor,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    found = evaluate(make_predictor(0.0), task, datasets[2:])
    path = tmp_path_factory.mktemp("dump") / "evaluation.json"
    dump_evaluation(found, path)
    assert load_evaluation(path) == found
    assert [entry.name for entry in path.parent.iterdir()] == ["evaluation.json"]
    path.write_text('{"model": 3}')
    with pytest.raises(InvalidInputError, match=r"evaluation\.json: model: .*got 3"):
        load_evaluation(path)
