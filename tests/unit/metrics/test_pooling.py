import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfed.metrics.pooling import LabelScores, TestReport, pool

SCORES = st.lists(st.floats(0, 1), min_size=3, max_size=9)


def report(scores: list[float]) -> TestReport:
    sums = LabelScores(total=sum(scores), squares=sum(score**2 for score in scores))
    return TestReport(cases=len(scores), labels={"liver": sums})


@settings(deadline=None)
@given(st.lists(SCORES, min_size=1, max_size=4))
def test_pooling_sums_equals_pooling_cases(sites: list[list[float]]) -> None:
    """Against NumPy on all cases together."""
    result = pool("d", {f"s{number}": report(scores) for number, scores in enumerate(sites)}).pooled["liver"]
    cases = np.concatenate(sites)
    assert result.cases == len(cases)
    assert result.mean == pytest.approx(float(cases.mean()), abs=1e-9)
    assert result.deviation == pytest.approx(float(cases.std(ddof=1)), abs=1e-6)
    half = 1.959963984540054 * float(cases.std(ddof=1)) / len(cases) ** 0.5
    assert result.low == pytest.approx(float(cases.mean()) - half, abs=1e-6)
    assert result.high == pytest.approx(float(cases.mean()) + half, abs=1e-6)


def test_a_site_without_enough_cases_or_answer_is_silent() -> None:
    result = pool("d", {"a": report([0.5, 0.6, 0.7]), "b": TestReport(cases=0), "c": None})
    assert result.silent == ("b", "c")
    assert set(result.sites) == {"a"}


def test_nobody_answered() -> None:
    result = pool("d", {"a": None})
    assert (result.pooled, result.sites) == ({}, {})


def test_what_one_site_holds_back_is_not_pooled_over_the_others() -> None:
    """The sites that told it would be chosen by their very scores."""
    sums = LabelScores(total=2.0, squares=1.5)
    both, one = (
        TestReport(cases=3, labels={"accuracy": sums, "brier": sums}),
        TestReport(cases=4, labels={"brier": sums}),
    )
    result = pool("d", {"a": both, "b": one})
    assert set(result.pooled) == {"brier"}
    assert result.pooled["brier"].cases == 7
    assert set(result.sites["a"]) == {"accuracy", "brier"}
