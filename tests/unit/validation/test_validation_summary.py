from collections.abc import Callable
from pathlib import Path

import pytest

from radfed.validation.comparison import compare, dump_comparison, load_comparison
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.summary import case_value, summarise
from radfed.validation.volumes import agreement

MakeCase = Callable[..., CaseResult]
MakeEvaluation = Callable[..., Evaluation]


def test_the_pooled_mean_counts_cases_not_sites(make_case: MakeCase, make_evaluation: MakeEvaluation) -> None:
    cases = [make_case("a", index, 0.9) for index in range(3)] + [make_case("b", 0, 0.5)]
    found = summarise(make_evaluation(*cases))
    assert found.pooled.mean.dice is not None
    assert found.pooled.mean.dice.mean == pytest.approx((3 * 0.9 + 0.5) / 4)
    assert found.sites["b"].mean.dice is not None
    assert found.sites["b"].mean.dice.mean == 0.5
    assert found.sites["b"].mean.dice.low is None
    assert found.pooled.patients == 4


def test_outcomes_enter_means_as_the_policy_says(make_case: MakeCase, make_evaluation: MakeEvaluation) -> None:
    cases = (
        make_case("a", 0, 0.8),
        make_case("a", 1, 1.0, outcome="both_empty", hd95=0.0, reference_ml=0, prediction_ml=0),
        make_case("a", 2, 0.0, outcome="false_positive", hd95=None),
        make_case("a", 3, 0.0, outcome="missed", hd95=None),
    )
    found = summarise(make_evaluation(*cases)).pooled.labels["ball"]
    assert found.dice is not None
    assert found.hd95 is not None
    assert [found.dice.mean, found.dice.cases] == pytest.approx([0.8 / 3, 3])
    assert [found.hd95.mean, found.hd95.cases] == pytest.approx([0.6, 1])
    assert found.counts.model_dump() == {"compared": 1, "both_empty": 1, "false_positives": 1, "missed": 1}
    assert case_value(cases[1], "dice") is None


def test_several_scans_of_a_patient_are_one_patient(make_case: MakeCase, make_evaluation: MakeEvaluation) -> None:
    cases = [make_case("a", index, 0.5 + 0.1 * index, patient=f"p{index // 2}") for index in range(4)]
    found = summarise(make_evaluation(*cases)).pooled
    assert (found.cases, found.patients) == (4, 2)


def test_a_paired_difference_is_sure_where_the_means_overlap(
    make_case: MakeCase, make_evaluation: MakeEvaluation
) -> None:
    hard = [0.3, 0.5, 0.6, 0.7, 0.8, 0.9]
    mine = make_evaluation(*(make_case("a", i, d + 0.05 + 0.001 * i) for i, d in enumerate(hard)))
    local = make_evaluation(*(make_case("a", i, d) for i, d in enumerate(hard)), model="local-a")
    rows = {(row.model, row.site, row.metric): row for row in compare(mine, {"local-a": local})}
    own, other = rows["federated", None, "dice"], rows["local-a", None, "dice"]
    assert own.difference is None
    assert own.score.low is not None
    assert own.score.low < other.score.mean
    assert other.difference is not None
    assert other.difference.mean == pytest.approx(0.0525)
    assert other.difference.low is not None
    assert other.difference.low > 0.05
    assert rows["local-a", "a", "dice"].score == other.score


def test_cases_that_only_one_model_scored_are_left_out(make_case: MakeCase, make_evaluation: MakeEvaluation) -> None:
    mine = make_evaluation(make_case("a", 0, 0.9), make_case("a", 1, 0.9), make_case("a", 2, 0.9))
    other = make_evaluation(make_case("a", 1, 0.8), make_case("a", 2, 0.8), make_case("z", 9, 0.1), model="pooled")
    row = next(row for row in compare(mine, {"pooled": other}) if row.model == "pooled" and row.metric == "dice")
    assert [row.score.cases, row.score.mean] == pytest.approx([2, 0.8])
    assert row.difference is not None
    assert row.difference.mean == pytest.approx(0.1)


def test_a_comparison_is_the_same_after_a_file_and_names_no_case(
    make_case: MakeCase, make_evaluation: MakeEvaluation, tmp_path: Path
) -> None:
    mine = make_evaluation(make_case("a", 0, 0.9), make_case("a", 1, 0.8))
    rows = compare(mine, {"pooled": make_evaluation(make_case("a", 0, 0.7), model="pooled")})
    path = tmp_path / "comparison.json"
    dump_comparison(rows, path)
    assert load_comparison(path) == rows
    assert "case-" not in path.read_text()
    assert "pat-" not in path.read_text()


def test_agreement_of_volumes(make_case: MakeCase, make_evaluation: MakeEvaluation) -> None:
    cases = [make_case("a", i, 0.9, reference_ml=2.0, prediction_ml=2.0 + gain) for i, gain in enumerate((0, 1, 2))]
    found = agreement(make_evaluation(*cases), "ball")
    assert found is not None
    assert (found.bias_ml, found.low_ml, found.high_ml) == pytest.approx((1.0, 1 - 1.96, 1 + 1.96))
    assert agreement(make_evaluation(*cases), "cube") is None
