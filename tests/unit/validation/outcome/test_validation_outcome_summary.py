"""Numbers of evaluations against scikit-learn and the metrics by themselves, and on cases that can show nothing."""

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from radfed.dataset.layout import Observed
from radfed.metrics.intervals import Bootstrap
from radfed.metrics.operating import wilson
from radfed.metrics.roc import auroc_interval, delong, delong_test
from radfed.metrics.survival import concordance
from radfed.validation.outcome.comparison import compare_outcomes
from radfed.validation.outcome.errors import confident_errors, verdicts_of
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.summary import OutcomeSummary, summarise_outcomes

Make = Callable[..., OutcomeEvaluation]
FAST = Bootstrap(resamples=200)


def columns(evaluation: OutcomeEvaluation) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    return (
        np.array([case.truth == "yes" for case in evaluation.cases]),
        np.array([case.scores[1] for case in evaluation.cases]),
    )


def test_two_classes_score_as_the_metrics_do(make_two_classes: Make) -> None:
    evaluation = make_two_classes(1)
    truth, scores = columns(evaluation)
    found = summarise_outcomes(evaluation, FAST).pooled
    area = delong(truth, scores)
    assert area is not None
    expected = auroc_interval(area)
    assert expected is not None
    assert found.auroc is not None
    assert (found.auroc.value, found.auroc.low, found.auroc.high) == (area.value, expected.low, expected.high)
    assert found.average_precision is not None
    assert found.average_precision.value == pytest.approx(reference.average_precision_score(truth, scores))
    assert found.brier is not None
    assert found.brier.value == pytest.approx(reference.brier_score_loss(truth, scores))
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(reference.accuracy_score(truth, scores >= 0.5))
    answers = found.questions["yes"].answers
    negative, wrong, missed, positive = reference.confusion_matrix(truth, scores >= 0.45).ravel()
    assert (answers.true_negatives, answers.false_positives) == (negative, wrong)
    assert (answers.false_negatives, answers.true_positives) == (missed, positive)
    assert found.confusion == ((negative, wrong), (missed, positive))
    interval = wilson(int(positive), int(positive + missed))
    assert interval is not None
    assert answers.sensitivity is not None
    assert answers.sensitivity.value == positive / (positive + missed)
    assert (answers.sensitivity.low, answers.sensitivity.high) == (interval.low, interval.high)
    assert list(found.questions) == ["yes"]


def test_several_cases_of_a_patient_widen_the_intervals(make_two_classes: Make) -> None:
    many = make_two_classes(1, count=240)
    # Every patient four times: the same scores, so that nothing new is learned from the repeats.
    first = many.cases[:60]
    repeated = many.model_copy(
        update={"cases": tuple(c.model_copy(update={"case": f"{c.case}-{n}"}) for c in first for n in range(4))}
    )
    once = many.model_copy(update={"cases": first})
    a, b = (summarise_outcomes(e, FAST).pooled for e in (repeated, once))
    for measure in ("auroc", "accuracy", "brier"):
        wide, plain = getattr(a, measure), getattr(b, measure)
        assert wide.value == pytest.approx(plain.value)
        assert wide.high - wide.low > 0.75 * (plain.high - plain.low)
    sensitive = a.questions["yes"].answers.sensitivity
    assert sensitive is not None
    assert sensitive.low is not None
    plain = b.questions["yes"].answers.sensitivity
    assert plain is not None
    assert plain.low is not None
    assert sensitive.value - sensitive.low > 0.6 * (plain.value - plain.low)


def test_several_classes_are_each_against_the_others(make_outcome_evaluation: Make) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 90)
    scores = random.dirichlet([1, 1, 1], 90) * 0.6 + np.eye(3)[truth] * 0.4
    names = ("a", "b", "c")
    rows = [("s", f"p{i}", scores[i], names[truth[i]]) for i in range(90)]
    found = summarise_outcomes(make_outcome_evaluation("multiclass", names, rows), FAST).pooled
    for place, name in enumerate(names):
        area = found.questions[name].auroc
        assert area is not None
        assert area.value == pytest.approx(reference.roc_auc_score(truth == place, scores[:, place]))
        answers = found.questions[name].answers
        assert answers.threshold is None
        called = scores.argmax(axis=1) == place
        assert answers.true_positives == int((called & (truth == place)).sum())
    assert found.auroc is not None
    assert found.auroc.value == pytest.approx(reference.roc_auc_score(truth, scores, multi_class="ovr"))
    assert found.auroc.low is not None
    assert found.auroc.low < found.auroc.value
    assert np.array_equal(found.confusion, reference.confusion_matrix(truth, scores.argmax(axis=1)))


def test_findings_are_each_a_question(make_outcome_evaluation: Make) -> None:
    random = np.random.default_rng(1)
    truth = random.random((70, 2)) < (0.5, 0.2)
    scores = np.clip(random.normal(0.35, 0.2, (70, 2)) + 0.3 * truth, 0, 1)
    names = ("one", "two")
    rows = [
        ("s", f"p{i}", scores[i], tuple(n for n, there in zip(names, truth[i], strict=True) if there))
        for i in range(70)
    ]
    thresholds = {"one": 0.4, "two": 0.6}
    found = summarise_outcomes(make_outcome_evaluation("multilabel", names, rows, thresholds), FAST).pooled
    assert found.auroc is not None
    assert found.auroc.value == pytest.approx(reference.roc_auc_score(truth, scores, average="macro"))
    assert found.average_precision is not None
    assert found.average_precision.value == pytest.approx(reference.average_precision_score(truth, scores))
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(((scores >= 0.5) == truth).mean())
    sensitivity = found.questions["two"].answers.sensitivity
    assert sensitivity is not None
    assert sensitivity.value == pytest.approx((scores[truth[:, 1], 1] >= 0.6).mean())
    assert found.confusion == ()


def test_survival_is_its_concordance(survival_evaluation: OutcomeEvaluation) -> None:
    found = summarise_outcomes(survival_evaluation, FAST)
    observed = [case.truth for case in survival_evaluation.cases if isinstance(case.truth, Observed)]
    times = np.array([one.time for one in observed])
    events = np.array([one.event for one in observed])
    expected = concordance(times, events, np.array([case.scores[0] for case in survival_evaluation.cases]))
    assert expected is not None
    pooled = found.pooled.survival
    assert pooled is not None
    assert pooled.concordance is not None
    assert pooled.concordance.value == pytest.approx(expected.value)
    assert (pooled.pairs, pooled.events) == (expected.comparable, events.sum())
    assert pooled.concordance.low is not None
    assert pooled.concordance.low < expected.value
    assert sorted(found.sites) == ["a", "b"]


def finite(content: object) -> bool:
    if isinstance(content, float):
        return math.isfinite(content)
    if isinstance(content, dict):
        return all(finite(value) for value in content.values())
    return all(finite(value) for value in content) if isinstance(content, list) else True


@pytest.mark.parametrize(
    ("scores", "truth"),
    [
        ([0.1, 0.9, 0.4], ["yes"] * 3),
        ([0.1, 0.9, 0.4], ["no"] * 3),
        ([0.5] * 30, ["yes", "no"] * 15),
        ([0.0] * 15 + [1.0] * 15, ["no"] * 15 + ["yes"] * 15),
        ([0.3], ["yes"]),
    ],
    ids=["positive only", "negative only", "constant", "perfect and certain", "one case"],
)
def test_cases_that_show_little_give_null_and_no_nan(
    make_outcome_evaluation: Make, scores: Sequence[float], truth: Sequence[str]
) -> None:
    rows = [("s", f"p{i}", (1 - s, s), t) for i, (s, t) in enumerate(zip(scores, truth, strict=True))]
    found = summarise_outcomes(make_outcome_evaluation("multiclass", ("no", "yes"), rows, {"yes": 0.5}), FAST)
    content = json.loads(found.model_dump_json())
    assert finite(content)
    assert OutcomeSummary.model_validate_json(found.model_dump_json()) == found
    one_answer = len(set(truth)) == 1
    assert (found.pooled.auroc is None) == one_answer
    assert (found.pooled.questions["yes"].answers.specificity is None) == ("no" not in truth)


def test_events_that_nobody_saw_have_no_concordance(make_outcome_evaluation: Make) -> None:
    rows = [("s", f"p{i}", (float(i),), Observed(time=i, event=False)) for i in range(8)]
    found = summarise_outcomes(make_outcome_evaluation("survival", ("hazard",), rows), FAST).pooled
    assert found.survival is not None
    assert (found.survival.concordance, found.survival.pairs, found.survival.events) == (None, 0, 0)


def test_models_are_compared_by_delong_s_test(make_two_classes: Make) -> None:
    mine, other = make_two_classes(1), make_two_classes(2, spread=3.0).model_copy(update={"model": "pooled"})
    rows = compare_outcomes(mine, {"pooled": other}, FAST)
    truth, first = columns(mine)
    second = columns(other)[1]
    expected = delong_test(truth, first, second)
    assert expected is not None
    assert expected.interval is not None
    found = next(r for r in rows if r.model == "pooled" and r.site is None and r.metric == "auroc")
    assert found.difference is not None
    assert found.difference.value == pytest.approx(expected.value)
    assert found.difference.low == pytest.approx(expected.interval.low)
    assert found.p == pytest.approx(expected.p)
    brier = next(r for r in rows if r.model == "pooled" and r.site is None and r.metric == "brier")
    assert brier.difference is not None
    assert brier.difference.value == pytest.approx(((first - truth) ** 2).mean() - ((second - truth) ** 2).mean())
    assert brier.p is None
    assert {row.site for row in rows} == {None, "a", "b"}
    assert {row.metric for row in rows} == {"auroc", "accuracy", "brier"}


def test_pairs_of_cases_of_one_patient_have_a_bootstrapped_difference(make_two_classes: Make) -> None:
    mine, other = make_two_classes(1, patients=20), make_two_classes(2, patients=20, spread=3.0)
    found = compare_outcomes(mine, {"pooled": other}, FAST)
    row = next(r for r in found if r.model == "pooled" and r.site is None and r.metric == "auroc")
    assert row.p is None
    assert row.difference is not None
    assert row.difference.low is not None
    assert row.difference.high is not None
    assert row.difference.low < row.difference.value < row.difference.high


def test_only_cases_that_both_answered_are_compared(make_two_classes: Make) -> None:
    mine, other = make_two_classes(1), make_two_classes(2)
    half = other.model_copy(update={"cases": other.cases[:30]})
    rows = compare_outcomes(mine, {"pooled": half}, FAST)
    assert {row.cases for row in rows if row.model == "pooled" and row.site is None} == {30}
    elsewhere = other.model_copy(
        update={"cases": tuple(case.model_copy(update={"site": "far"}) for case in other.cases)}
    )
    assert {row.model for row in compare_outcomes(mine, {"pooled": elsewhere}, FAST)} == {"federated"}


def test_survival_models_are_compared_by_concordance(survival_evaluation: OutcomeEvaluation) -> None:
    cases = tuple(c.model_copy(update={"scores": (-c.scores[0],)}) for c in survival_evaluation.cases)
    turned = survival_evaluation.model_copy(update={"cases": cases})
    rows = compare_outcomes(survival_evaluation, {"turned": turned}, FAST)
    row = next(r for r in rows if r.model == "turned" and r.site is None)
    own = next(r for r in rows if r.model == "federated" and r.site is None)
    assert row.metric == "concordance"
    assert row.score.value == pytest.approx(1 - own.score.value)
    assert row.difference is not None
    assert row.difference.low is not None
    assert row.difference.low > 0


def test_the_most_confident_errors_come_first(make_outcome_evaluation: Make) -> None:
    rows = [
        ("s", "p0", (0.05, 0.95), "no"),  # far off
        ("s", "p1", (0.9, 0.1), "no"),
        ("s", "p2", (0.5, 0.5), "yes"),  # right at the threshold
        ("s", "p3", (0.7, 0.3), "yes"),
    ]
    evaluation = make_outcome_evaluation("multiclass", ("no", "yes"), rows, {"yes": 0.5})
    errors = confident_errors(evaluation, 6)
    assert [one.case.patient for one in errors] == ["p0", "p3"]
    assert (errors[0].answer, errors[0].truth, errors[0].probability) == ("yes", "no", 0.95)
    assert [one.case.patient for one in verdicts_of(evaluation)] == ["p0", "p3", "p2", "p1"]


def test_a_case_with_two_wrong_findings_is_shown_once(make_outcome_evaluation: Make) -> None:
    rows = [("s", "p0", (0.9, 0.2), ("two",)), ("s", "p1", (0.9, 0.8), ("one", "two"))]
    evaluation = make_outcome_evaluation("multilabel", ("one", "two"), rows, {"one": 0.5, "two": 0.5})
    errors = confident_errors(evaluation, 6)
    assert [(one.case.patient, one.answer, one.truth) for one in errors] == [("p0", "one", "no one")]


def test_survival_has_no_wrong_answers(survival_evaluation: OutcomeEvaluation) -> None:
    assert verdicts_of(survival_evaluation) == []
