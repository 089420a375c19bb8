"""Decision curves and subgroups of answers."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.dataset.traits import Trait
from radfed.metrics.intervals import Bootstrap, Statistic
from radfed.metrics.net_benefit import net_benefit_statistic
from radfed.task import MultiClass, NumericCovariate, OutcomeNetwork, OutcomeTask
from radfed.validation.outcome import decision
from radfed.validation.outcome.decision import THRESHOLDS, decision_curves, decision_questions
from radfed.validation.outcome.report import OutcomeReportInput, write_outcome_report
from radfed.validation.outcome.results import OperatingPoints, OutcomeCase, OutcomeEvaluation
from radfed.validation.outcome.subgroups import outcome_subgroups
from radfed.validation.outcome.summary import summarise_outcomes

FAST = Bootstrap(resamples=60)
Traits = dict[tuple[str, str], dict[Trait, str]]


def evaluation(count: int = 90, seed: int = 0) -> OutcomeEvaluation:
    random = np.random.default_rng(seed)
    cases = []
    for index in range(count):
        ill = bool(random.random() < 0.35)
        score = float(np.clip(random.normal(0.65 if ill else 0.35, 0.2), 0.01, 0.99))
        cases.append(
            OutcomeCase(
                site=f"site-{index % 3}", patient=f"pat-{index}", case=f"case-{index}", scores=(1 - score, score),
                truth="ill" if ill else "well",
            )
        )  # fmt: skip
    points = OperatingPoints(origin="release", thresholds={"ill": 0.5})
    return OutcomeEvaluation(
        task="t", task_digest="0", split="test", kind="multiclass", finds=("well", "ill"), operating=points,
        cases=tuple(cases),
    )  # fmt: skip


def traits_of(found: OutcomeEvaluation) -> Traits:
    return {
        (case.site, case.case): {"sex": "female" if int(case.case[5:]) % 4 else "male", "vendor": "GE"}
        for case in found.cases
    }


def test_the_curve_counts_cases_and_its_interval_holds_its_value() -> None:
    found = evaluation()
    asked = decision_questions(found, summarise_outcomes(found, FAST), travels=False)
    curve = decision_curves(found, asked, FAST)["ill"]
    assert [point.threshold for point in curve.points] == list(THRESHOLDS)
    truth = np.array([case.truth == "ill" for case in found.cases])
    scores = np.array([case.scores[1] for case in found.cases])
    assert (curve.positives, curve.cases) == (int(truth.sum()), 90)
    for point in curve.points:
        called = scores >= point.threshold
        odds = point.threshold / (1 - point.threshold)
        assert point.model.value == pytest.approx(((called & truth).sum() - odds * (called & ~truth).sum()) / 90)
        assert point.treat_all == pytest.approx(truth.mean() - odds * (1 - truth.mean()))
        assert point.model.low is not None
        assert point.model.high is not None
        assert point.model.low <= point.model.value <= point.model.high


def test_what_travels_counts_runs_of_enough_patients() -> None:
    found = evaluation()
    asked = decision_questions(found, summarise_outcomes(found, FAST), travels=True)
    curve = decision_curves(found, asked, FAST)["ill"]
    truth = np.array([case.truth == "ill" for case in found.cases])
    for threshold in np.arange(0.01, 1, 0.01):
        called = asked[0].scores >= threshold
        for part in (called & truth, ~called & truth, called & ~truth, ~called & ~truth):
            assert part.sum() == 0 or part.sum() >= 3
    assert curve.cases == 90
    alone = evaluation(4, seed=1)
    assert decision_questions(alone, summarise_outcomes(alone, FAST), travels=False)
    few = summarise_outcomes(alone, FAST).model_copy(deep=True)
    few.pooled.questions["ill"] = few.pooled.questions["ill"].model_copy(update={"positives": None})
    assert decision_questions(alone, few, travels=True) == []


def test_groups_come_worst_first_and_travel_without_shares() -> None:
    found = evaluation()
    summary = summarise_outcomes(found, FAST)
    stays, travels = (
        outcome_subgroups(found, traits_of(found), summary, FAST, travels=travels) for travels in (False, True)
    )
    assert [table.trait for table in stays.traits] == ["site", "sex"]
    assert stays.same == {"vendor": "GE"}
    for table in (*stays.traits, *travels.traits):
        areas = [group.auroc.value for group in table.groups if group.auroc]
        assert areas == sorted(areas)
    assert all(group.sensitivity and group.accuracy for table in stays.traits for group in table.groups)
    for table in travels.traits:
        for group in table.groups:
            assert (group.positives, group.sensitivity, group.accuracy) == (None, None, None)
            assert group.brier is not None
            assert group.auroc is not None


def test_the_report_shows_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    def counted(truth: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float) -> Statistic:
        made.append(threshold)
        return net_benefit_statistic(truth, scores, threshold)

    monkeypatch.setattr(decision, "net_benefit_statistic", counted)
    found = evaluation()
    task = OutcomeTask(
        name="t", kind="tabular", description="Reads.", intended_use="Trying.",
        covariates=(NumericCovariate(name="x"),), outcome=MultiClass(classes=("well", "ill")), network=OutcomeNetwork(),
    )  # fmt: skip
    given = OutcomeReportInput(task=task, evaluation=found, traits=traits_of(found), bootstrap=FAST)
    write_outcome_report(given, tmp_path)
    text = (tmp_path / "report.html").read_text()
    content = json.loads((tmp_path / "metrics.json").read_text())
    for phrase in ("Decision curve", "act on none", "<td>female</td>", "The group with the lowest score", "TRIPOD+AI"):
        assert phrase in text
    assert "CLAIM" not in text  # no image
    assert made == list(THRESHOLDS)  # one curve, made once for both files
    assert content["decision_curves"]["ill"]["cases"] == 90
    assert {table["trait"] for table in content["subgroups"]["traits"]} == {"site", "sex"}
