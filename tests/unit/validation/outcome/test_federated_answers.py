from collections.abc import Callable

import numpy as np
import pytest

from radfed.metrics.answer_pool import pool_answers
from radfed.metrics.roc import auroc
from radfed.validation.outcome.answer_tables import answer_sums
from radfed.validation.outcome.cohort import cohort_of
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.summary import summarise_outcomes


def sites_of(evaluation: OutcomeEvaluation, number: int) -> list[OutcomeEvaluation]:
    """The same cases, at several sites."""
    cases = [
        case.model_copy(update={"site": f"site-{index % number}"}) for index, case in enumerate(evaluation.cases)
    ]  # fmt: skip
    return [
        evaluation.model_copy(update={"cases": tuple(case for case in cases if case.site == f"site-{index}")})
        for index in range(number)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_answers_of_sites_are_those_of_all_cases(make_two_classes: Callable[..., OutcomeEvaluation], seed: int) -> None:
    evaluation = make_two_classes(seed, count=600, spread=2.0)
    told = [answer_sums(site) for site in sites_of(evaluation, 3)]
    pooled, true = pool_answers(told, 600, 600), summarise_outcomes(evaluation).pooled
    assert pooled.accuracy is not None
    assert pooled.brier is not None
    assert true.accuracy is not None
    assert true.brier is not None
    assert pooled.accuracy.mean == pytest.approx(true.accuracy.value, abs=1e-12)
    assert pooled.brier.mean == pytest.approx(true.brier.value, abs=1e-12)
    assert pooled.confusion == true.confusion
    for name, scores in pooled.questions.items():
        other = true.questions[name]
        assert (scores.positives, scores.negatives) == (other.positives, other.negatives)
        for field in ("true_positives", "false_positives", "true_negatives", "false_negatives"):
            assert getattr(scores.answers, field) == getattr(other.answers, field)
        assert scores.answers.sensitivity is not None
        assert other.answers.sensitivity is not None
        assert scores.answers.sensitivity.value == pytest.approx(other.answers.sensitivity.value)
        assert scores.auroc is not None
        assert other.auroc is not None
        assert scores.auroc.least <= other.auroc.value <= scores.auroc.most
        assert scores.auroc.value == pytest.approx(other.auroc.value, abs=0.03)
        assert sum(one.cases for one in scores.calibration_bins) == 600


@pytest.mark.parametrize("count", [7, 20, 90])
def test_no_bin_and_no_count_is_of_one_or_two(make_two_classes: Callable[..., OutcomeEvaluation], count: int) -> None:
    for seed in range(8):
        told = answer_sums(make_two_classes(seed, count=count))
        for name, question in told.questions.items():
            cells = [b.positives for b in question.bins] + [b.negatives for b in question.bins]
            cells += list(question.answers.model_dump().values()) if question.answers else []
            cells += [n for n in (question.positives, question.negatives) if n is not None]
            assert all(cell == 0 or cell >= 3 for cell in cells), (seed, cells)
            if question.answers is not None:
                threshold = told.thresholds[name]
                assert all(b.high <= threshold or b.low >= threshold for b in question.bins)


def test_one_site_alone_has_its_exact_area(make_two_classes: Callable[..., OutcomeEvaluation]) -> None:
    evaluation = make_two_classes(1, count=80)
    cohort = cohort_of(evaluation.cases, evaluation.kind, evaluation.finds)
    [question] = cohort.questions(evaluation.operating)
    [found] = pool_answers([answer_sums(evaluation)], 80, 80).questions.values()
    assert found.auroc is not None
    exact = auroc(question.truth, question.scores)
    assert (found.auroc.least, found.auroc.value, found.auroc.most) == pytest.approx((exact,) * 3)


def test_events_are_compared_within_sites(survival_evaluation: OutcomeEvaluation) -> None:
    sites = sites_of(survival_evaluation, 2)
    found = pool_answers([answer_sums(site) for site in sites], 50, 50)
    assert found.survival is not None
    parts = [summarise_outcomes(site).pooled.survival for site in sites]
    assert all(part is not None for part in parts)
    assert found.survival.pairs == sum(part.pairs or 0 for part in parts if part)
    mean = sum(part.concordance.value * part.pairs for part in parts if part and part.concordance and part.pairs)
    assert found.survival.concordance_within_sites == pytest.approx(mean / found.survival.pairs)


def test_what_one_site_holds_back_is_not_pooled(make_two_classes: Callable[..., OutcomeEvaluation]) -> None:
    wide = make_two_classes(1, count=120)
    told = answer_sums(wide)
    positive = [case for case in wide.cases if case.truth == wide.finds[1]][:1]
    negative = [case for case in wide.cases if case.truth == wide.finds[0]][:9]
    small = answer_sums(wide.model_copy(update={"cases": (*positive, *negative)}))
    [question] = small.questions.values()
    assert (question.positives, question.area, question.bins, question.answers) == (None, None, (), None)
    [pooled] = pool_answers([told, small], 130, 130).questions.values()
    assert (pooled.positives, pooled.auroc, pooled.calibration_bins) == (None, None, ())
    assert pooled.answers.true_positives is None
    assert np.isfinite(next(iter(told.thresholds.values())))
