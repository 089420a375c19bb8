import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from radfed.dataset.layout import Dataset, Scanner
from radfed.dataset.traits import Trait
from radfed.task import SegmentationTask
from radfed.validation.grouping import traits_by_case
from radfed.validation.report import ReportInput, write_report
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.subgroup_page import on_which, worst_mask_group
from radfed.validation.subgroups import subgroups
from radfed.validation.summary import summarise

MakeCase = Callable[..., CaseResult]
MakeEvaluation = Callable[..., Evaluation]
Traits = dict[tuple[str, str], dict[Trait, str]]


@pytest.fixture(scope="module")
def found(make_case: MakeCase, make_evaluation: MakeEvaluation) -> tuple[Evaluation, Traits]:
    """Three sites of 8; site c scans with Siemens but for two, as only a does otherwise; one patient's sex is rare."""
    random = np.random.default_rng(0)
    cases = [make_case(site, i, float(random.uniform(0.5, 0.9))) for site in "abc" for i in range(8)]
    traits: Traits = {}
    for place, case in enumerate(cases):
        siemens = case.site == "a" or (case.site == "c" and place % 8 < 2)
        traits[case.site, case.case] = {
            "vendor": "Siemens" if siemens else "GE",
            "sex": "other" if place == 20 else ("male", "female")[place % 2],
            "age": "under 18" if place in (1, 2, 3) else "40 to 59",
            "projection": "not recorded",
        }
    return make_evaluation(*cases), traits


def test_groups_come_worst_first_with_their_own_means(found: tuple[Evaluation, Traits]) -> None:
    evaluation, traits = found
    tables = subgroups(evaluation, traits, summarise(evaluation))
    assert [table.trait for table in tables.traits] == ["site", "vendor", "sex", "age"]
    assert tables.unrecorded == ("projection",)
    for table in tables.traits:
        means = [group.dice.mean for group in table.groups if group.dice]
        assert means == sorted(means)
        assert sum(group.cases for group in table.groups) == 24
        assert table.not_shown == 0
    women = next(g for t in tables.traits if t.trait == "sex" for g in t.groups if g.group == "female")
    values = [c.labels[0].dice for c in evaluation.cases if traits[c.site, c.case]["sex"] == "female"]
    assert women.dice is not None
    assert women.dice.mean == pytest.approx(np.mean(values))
    assert "group with the lowest score" in worst_mask_group(tables)


def test_a_group_that_only_subtraction_would_show_is_not_told(found: tuple[Evaluation, Traits]) -> None:
    evaluation, traits = found
    tables = subgroups(evaluation, traits, summarise(evaluation), travels=True)
    told = {table.trait: {group.group for group in table.groups} for table in tables.traits}
    hidden = {table.trait: table.not_shown for table in tables.traits}
    assert told["site"] == {"a", "b", "c"}
    assert told["vendor"] == set(), "Siemens less site a would be two patients, and GE less site b gives them as well"
    assert len(told["sex"]) < 3
    assert "other" not in told["sex"]
    assert hidden["sex"] >= 2
    assert all(group.missed is None for table in tables.traits for group in table.groups)
    _assert_nobody_is_given_away(evaluation, traits, told)


def _assert_nobody_is_given_away(evaluation: Evaluation, traits: Traits, told: dict[str, set[str]]) -> None:
    """No combination of the told sums is of one or two patients: solved as linear equations for every pair."""
    columns = [[1.0] * len(evaluation.cases)]
    for trait, groups in told.items():
        for group in groups:
            columns.append(
                [
                    float((c.site if trait == "site" else traits[c.site, c.case].get(trait)) == group)  # type: ignore[call-overload] # by name
                    for c in evaluation.cases
                ]
            )
    matrix = np.array(columns).T
    for pair in itertools.combinations(range(len(matrix)), 2):
        assert np.linalg.matrix_rank(np.delete(matrix, pair, axis=0)) == np.linalg.matrix_rank(matrix)


def test_the_report_and_its_metrics_tell_the_groups(
    task: SegmentationTask, found: tuple[Evaluation, Traits], tmp_path: Path
) -> None:
    evaluation, traits = found
    given = ReportInput(task=task, evaluation=evaluation, traits=traits)
    write_report(given, tmp_path / "stays")
    write_report(given, tmp_path / "travels", pictures=False)
    stays, travels = ((tmp_path / name / "report.html").read_text() for name in ("stays", "travels"))
    assert "Scanner vendor</th>" in stays
    assert "<td>Siemens</td>" in stays
    assert "<td>Siemens</td>" not in travels
    assert "2 groups not shown" in travels
    content = json.loads((tmp_path / "travels" / "metrics.json").read_text())
    assert [table["trait"] for table in content["subgroups"]["traits"]] == ["site", "vendor", "sex", "age"]


def test_what_is_alike_or_unknown_is_a_limit() -> None:
    sentences = on_which({"site": "a", "vendor": "GE"}, ("sex", "age"))
    assert "All cases scored here are alike in scanner vendor GE: others have not been tried." in sentences
    assert "Not recorded of any case: sex and age. No difference in them can be shown." in sentences
    assert any("from one site" in sentence for sentence in sentences)


def test_traits_are_read_from_datasets(datasets: tuple[Dataset, ...], task: SegmentationTask) -> None:
    first = datasets[0].cases[0]
    changed = Dataset(
        datasets[0].root, "site-a", "two_balls", (first.model_copy(update={"scanner": Scanner(manufacturer="GE")}),)
    )
    assert traits_by_case([changed], task)["site-a", first.id]["vendor"] == "GE"
