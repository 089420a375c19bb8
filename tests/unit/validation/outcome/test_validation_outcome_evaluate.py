from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.dataset.layout import Dataset, Observed
from radfed.errors import DataError, InvalidInputError, RadfedError
from radfed.inference.outcome import Answerer
from radfed.metrics.operating import choose_threshold
from radfed.task import MultiClass, MultiLabel, OperatingPoint, OutcomeTask, Survival
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.results import dump_outcome_evaluations, load_outcome_evaluations

Make = Callable[..., Dataset]
MakeTask = Callable[..., OutcomeTask]
MakeAnswer = Callable[[int], Answerer]


def test_every_case_of_the_split_is_answered_once(
    sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer
) -> None:
    told: list[tuple[int, int]] = []
    found = evaluate_outcomes(by_brightness, picture_task, sites, on_progress=lambda *a: told.append(a))
    assert [c.case for c in found.cases] == [c.id for dataset in sites for c in dataset.split("test")]
    assert all(sum(case.scores) == pytest.approx(1) for case in found.cases)
    means = [dataset.image(c).array.clip(0, 1).mean() for dataset in sites for c in dataset.split("test")]
    expected = 1 / (1 + np.exp(-16 * (np.array(means) - 0.5)))
    np.testing.assert_allclose([case.scores[1] for case in found.cases], expected, rtol=1e-4)
    assert told[-1] == (48 + 18, 48 + 18)  # the validation cases are answered for the operating point


def test_the_operating_point_is_fixed_on_validation_cases_only(
    sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer
) -> None:
    found = evaluate_outcomes(by_brightness, picture_task, sites)
    held_out = evaluate_outcomes(by_brightness, picture_task, sites[:2], split="validation")
    truth = np.array([case.truth == "bright" for case in held_out.cases])
    scores = np.array([case.scores[1] for case in held_out.cases])
    assert found.operating.thresholds["bright"] == choose_threshold(truth, scores, "youden")
    assert found.operating.origin == "validation"
    assert found.operating.cases == {"bright": 18}
    assert held_out.operating == found.operating
    everything = evaluate_outcomes(by_brightness, picture_task, sites, split="all")
    assert everything.operating == found.operating
    assert len(everything.cases) == sum(len(dataset.cases) for dataset in sites)


def test_the_release_s_operating_point_comes_first(
    sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer
) -> None:
    found = evaluate_outcomes(by_brightness, picture_task, sites, stated={"bright": 0.77})
    assert found.operating.origin == "release"
    assert found.operating.thresholds == {"bright": 0.77}


@pytest.mark.parametrize("chosen", [slice(2, 4), slice(2, 3)])
def test_without_validation_cases_the_threshold_is_a_half_and_says_so(
    sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer, chosen: slice
) -> None:
    found = evaluate_outcomes(by_brightness, picture_task, sites[chosen])
    assert found.operating.origin == "none"
    assert found.operating.thresholds == {"bright": 0.5}
    assert found.operating.cases == {"bright": 0}


def test_findings_have_a_threshold_each(
    tmp_path: Path, make_record_task: MakeTask, make_records_site: Make, make_record_answer: MakeAnswer
) -> None:
    task = make_record_task(MultiLabel(findings=("one", "two", "never")))
    task = task.model_copy(update={"operating_point": OperatingPoint(rule="sensitivity", value=0.9)})
    random = np.random.default_rng(0)
    rows = []
    for index in range(40):
        there = tuple(name for name, asked in (("one", index % 2), ("two", index % 4 == 0)) if asked)
        values = [random.normal(2 * (name in there), 1) for name in ("one", "two", "never")]
        rows.append((values, there, "validation" if index < 30 else "test"))
    dataset = make_records_site(tmp_path, "site-a", task, rows)
    found = evaluate_outcomes(make_record_answer(3), task, [dataset])
    assert found.operating.cases == {"one": 30, "two": 30, "never": 0}
    assert found.operating.thresholds["never"] == 0.5
    validation = evaluate_outcomes(make_record_answer(3), task, [dataset], split="validation")
    scores = np.array([case.scores[0] for case in validation.cases if "one" in case.truth])
    assert (scores >= found.operating.thresholds["one"]).mean() >= 0.9


@pytest.mark.parametrize(
    ("outcome", "truth"), [(MultiClass(classes=("a", "b", "c")), "b"), (Survival(), Observed(time=3, event=True))]
)
def test_three_classes_and_survival_have_no_threshold(
    tmp_path: Path,
    make_record_task: MakeTask,
    make_records_site: Make,
    make_record_answer: MakeAnswer,
    outcome: MultiClass | Survival,
    truth: str | Observed,
) -> None:
    task = make_record_task(outcome)
    dataset = make_records_site(
        tmp_path, "site-a", task, [([0.5, 1, 2], truth, "validation"), ([0, 0, 0], truth, "test")]
    )
    found = evaluate_outcomes(make_record_answer(task.outputs), task, [dataset])
    assert found.operating.thresholds == {}
    assert found.cases[0].truth == truth


def test_a_case_without_outcome_or_with_another_stops_with_its_name(
    tmp_path: Path, make_record_task: MakeTask, make_records_site: Make, make_record_answer: MakeAnswer
) -> None:
    task = make_record_task(MultiClass(classes=("a", "b")))
    for name, outcome in (("unknown_outcome", "z"), ("no_outcome", None)):
        dataset = make_records_site(tmp_path / name, "site-a", task, [([0, 0, 0], outcome, "test")])
        with pytest.raises(DataError, match=r"site-a case-[0-9a-f]{12}: ") as caught:
            evaluate_outcomes(make_record_answer(2), task, [dataset])
        assert caught.value.reason == name


def test_a_model_that_gives_no_number_is_refused(sites: tuple[Dataset, ...], picture_task: OutcomeTask) -> None:
    def answer(image: NDArray[np.float32] | None, _records: NDArray[np.float32] | None) -> NDArray[np.float32]:
        assert image is not None
        return np.full((len(image), 2), np.nan, dtype=np.float32)

    with pytest.raises(RadfedError, match=r"site-a case-[0-9a-f]{12}: the model gave no finite number"):
        evaluate_outcomes(answer, picture_task, sites)


def test_wrong_datasets_are_refused(
    sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer, make_record_task: MakeTask
) -> None:
    with pytest.raises(InvalidInputError, match="got twice: site-a"):
        evaluate_outcomes(by_brightness, picture_task, [sites[0], sites[0]])
    with pytest.raises(InvalidInputError, match="no case in the split 'validation'"):
        evaluate_outcomes(by_brightness, picture_task, [sites[3]], split="validation")
    with pytest.raises(InvalidInputError, match="prepared for the task 'bright_planes', the model is for 'records'"):
        evaluate_outcomes(by_brightness, make_record_task(MultiClass(classes=("a", "b"))), sites)


def test_evaluations_are_read_as_they_were_written(
    tmp_path: Path, sites: tuple[Dataset, ...], picture_task: OutcomeTask, by_brightness: Answerer
) -> None:
    found = evaluate_outcomes(by_brightness, picture_task, sites)
    dump_outcome_evaluations({"federated": found}, tmp_path / "comparison.json")
    assert load_outcome_evaluations(tmp_path / "comparison.json") == {"federated": found}
