"""No number of an evaluation that travels is of one or two patients, nor is one that follows from the others."""

import json
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radfed.dataset.layout import Observed
from radfed.errors import InvalidInputError
from radfed.metrics.intervals import Bootstrap
from radfed.metrics.small_cells import LEAST_PATIENTS, enough
from radfed.task import MultiClass, MultiLabel, OutcomeTask, Survival
from radfed.validation.background import held_back
from radfed.validation.flow import SiteFlow, travelling_flow
from radfed.validation.outcome.report import OutcomeReportInput, travelling_outcome_comparison, write_outcome_report
from radfed.validation.outcome.results import Kind, OutcomeEvaluation
from radfed.validation.outcome.summary import OutcomeGroup, OutcomeSummary, summarise_outcomes
from radfed.validation.outcome.travelling import travelling_summary

FEW = Bootstrap(resamples=20)
Make = Callable[..., OutcomeEvaluation]
NAMES: dict[Kind, tuple[str, ...]] = {"multiclass": ("no", "yes"), "multilabel": ("a", "b"), "survival": ("hazard",)}
Rows = list[tuple[int, int, int]]  # site, what is so, and the score in twelfths
CELLS = {"true_positives", "false_positives", "true_negatives", "false_negatives"}
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 12)), min_size=3, max_size=50)


def evaluated(
    make: Make, kind: Kind, names: tuple[str, ...], rows: Rows, model: str = "federated"
) -> OutcomeEvaluation:
    found = []
    for number, (site, truth, score) in enumerate(rows):
        share = score / 12
        scores: tuple[float, ...] = (1 - share, share)
        outcome: object = names[min(truth, len(names) - 1)]
        if kind == "multilabel":
            scores, outcome = (share, 1 - share), ((), ("a",), ("a", "b"))[truth]
        elif kind == "survival":
            scores, outcome = (share,), Observed(time=1.0 + number % 7, event=truth > 0)
        elif len(names) == 3:
            scores = (1 - share, share / 3, 2 * share / 3) if truth else (share / 2, 1 - share, share / 2)
        found.append((f"site-{site}", f"p{number}", scores, outcome))
    thresholds = {"yes": 0.5} if names == ("no", "yes") else {"a": 0.4, "b": 0.6} if kind == "multilabel" else None
    return make(kind, names, found, thresholds, model)


def told(evaluation: OutcomeEvaluation) -> tuple[OutcomeSummary, tuple[str, ...]]:
    summary = summarise_outcomes(evaluation, FEW)
    hidden = held_back({site: group.patients for site, group in summary.sites.items()})
    return travelling_summary(summary, evaluation, hidden), hidden


def counts_of(group: OutcomeGroup, kind: Kind) -> dict[str, int]:
    """Every count that is told of a group, and every one that follows from its shares and its size."""
    found = {"cases": group.cases, "patients": group.patients}
    if group.accuracy is not None and kind == "multiclass":
        found["right"] = round(group.accuracy.value * group.cases)
        found["wrong"] = group.cases - found["right"]
    if group.survival is not None and group.survival.events is not None:
        found |= {"events": group.survival.events, "censored": group.cases - group.survival.events}
    for name, scores in group.questions.items():
        cells = scores.answers.model_dump(include=CELLS)
        listed = {"positives": scores.positives, "negatives": scores.negatives, **cells}
        found |= {f"{name} {key}": count for key, count in listed.items() if count is not None}
        if scores.positives is not None:
            found[f"not {name}"] = group.cases - scores.positives
    for row, line in enumerate(group.confusion):
        found |= {f"{row}/{column}": count for column, count in enumerate(line)}
    return found


def differences(counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    """What is left of the cases when told answers that exclude each other are taken from them."""
    exclusive = [key for key in counts if key.endswith(" positives")]
    for some in chain.from_iterable(combinations(exclusive, size) for size in range(1, len(exclusive) + 1)):
        yield " and ".join(some), counts["cases"] - sum(counts[key] for key in some)


@pytest.mark.parametrize(
    ("kind", "names"),
    [*NAMES.items(), ("multiclass", ("x", "y", "z"))],
    ids=["two_classes", "findings", "survival", "three_classes"],
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_no_count_that_travels_is_small_nor_follows_from_others(
    make_outcome_evaluation: Make, kind: Kind, names: tuple[str, ...], rows: Rows
) -> None:
    evaluation = evaluated(make_outcome_evaluation, kind, names, rows)
    summary, hidden = told(evaluation)
    pooled = counts_of(summary.pooled, kind)
    of_sites = {site: counts_of(group, kind) for site, group in summary.sites.items()}
    for where, counts in {"pooled": pooled, **of_sites}.items():
        small = {name: count for name, count in counts.items() if not enough(count)}
        assert not small, (where, small)
        if kind == "multiclass":
            assert not [left for left in differences(counts) if not enough(left[1])]
    # Of all without any of the sites that are shown: the rest is what the sites held back, and those left out, have.
    for some in chain.from_iterable(combinations(of_sites, size) for size in range(1, len(of_sites) + 1)):
        for name in set(pooled).intersection(*(of_sites[site] for site in some)):
            left = pooled[name] - sum(of_sites[site][name] for site in some)
            assert enough(left), (name, some, left)
    assert set(of_sites).isdisjoint(hidden)
    for site, group in (("", summary.pooled), *summary.sites.items()):
        truths = [case.truth for case in evaluation.cases if site in ("", case.site)]
        for name, scores in group.questions.items():
            if scores.auroc is not None:
                there = sum(name in (truth if isinstance(truth, tuple) else (truth,)) for truth in truths)
                assert min(there, len(truths) - there) >= LEAST_PATIENTS, (site, name)


def test_numbers_of_enough_patients_all_travel(make_outcome_evaluation: Make) -> None:
    rows = [(site, truth, score) for site in (0, 1) for truth in (0, 1) for score in (1, 3, 5, 7, 9, 11)]
    evaluation = evaluated(make_outcome_evaluation, "multiclass", ("no", "yes"), rows)
    summary, hidden = told(evaluation)
    assert hidden == ()
    assert summary == summarise_outcomes(evaluation, FEW)


def test_one_small_cell_at_a_site_takes_the_counts_of_all_sites_but_not_those_of_all_together(
    make_outcome_evaluation: Make,
) -> None:
    enough_of_each = [(0, truth, score) for truth in (0, 1) for score in (1, 3, 5, 7, 9, 11)]
    rows = [*enough_of_each, *((1, 0, score) for score in (1, 2, 3, 8, 9, 10)), (1, 1, 11), (1, 1, 10)]
    summary, _ = told(evaluated(make_outcome_evaluation, "multiclass", ("no", "yes"), rows))
    here, there = (summary.sites[site].questions["yes"] for site in ("site-0", "site-1"))
    whole = summary.pooled.questions["yes"]
    assert (whole.positives, whole.negatives) == (8, 12)
    assert (here.positives, there.positives) == (None, None)
    assert here.auroc is not None  # an area does not say of how many
    assert there.auroc is None
    assert here.answers.sensitivity is None
    assert whole.answers.sensitivity is not None
    assert summary.sites["site-0"].confusion == ()
    assert summary.pooled.confusion


def test_a_comparison_travels_without_accuracies_and_models_of_other_cases(
    make_outcome_evaluation: Make, make_record_task: Callable[..., OutcomeTask]
) -> None:
    rows = [(site, truth, score) for site in (0, 1) for truth in (0, 1) for score in (1, 3, 5, 7, 9, 11)]
    mine = evaluated(make_outcome_evaluation, "multiclass", ("no", "yes"), rows)
    pooled = evaluated(make_outcome_evaluation, "multiclass", ("no", "yes"), rows, "pooled")
    fewer = pooled.model_copy(update={"model": "local", "cases": pooled.cases[1:]})
    report = OutcomeReportInput(
        task=make_record_task(MultiClass(classes=("no", "yes"))),
        evaluation=mine,
        baselines={"pooled": pooled, "local": fewer},
        bootstrap=FEW,
    )
    found = travelling_outcome_comparison(report)
    assert {row.model for row in found} == {"federated", "pooled"}
    assert {row.metric for row in found} == {"auroc", "brier"}
    assert {row.site for row in found} == {None, "site-0", "site-1"}


def test_where_cases_went_is_told_of_sites_without_a_small_number() -> None:
    whole = SiteFlow(site="a", found=13, quarantined={"unreadable": 3}, training=4, validation=3, test=3)
    one = whole.model_copy(update={"site": "b", "found": 11, "quarantined": {"unreadable": 1}})
    few = whole.model_copy(update={"site": "c", "validation": 2, "found": 12})
    held = whole.model_copy(update={"site": "d"})
    assert travelling_flow((whole, one, few, held), ["d"]) == (whole,)


@pytest.mark.parametrize("outcome", [MultiClass(classes=("no", "yes")), MultiLabel(findings=("a", "b")), Survival()])
def test_what_is_written_without_pictures_holds_no_small_count(
    tmp_path: Path,
    make_outcome_evaluation: Make,
    make_record_task: Callable[..., OutcomeTask],
    outcome: MultiClass | MultiLabel | Survival,
) -> None:
    random = np.random.default_rng(3)
    rows = [(site, int(truth), int(score)) for site, truth, score in random.integers((0, 0, 0), (4, 3, 13), (40, 3))]
    evaluation = evaluated(make_outcome_evaluation, outcome.type, NAMES[outcome.type], rows)
    flow = tuple(
        SiteFlow(site=site, found=9, quarantined={"unreadable": 1}, training=2, validation=1, test=5)
        for site in evaluation.sites
    )
    report = OutcomeReportInput(task=make_record_task(outcome), evaluation=evaluation, flow=flow, bootstrap=FEW)
    write_outcome_report(report, tmp_path, pictures=False)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["flow"] == []

    def integers(value: object) -> Iterator[int]:
        if isinstance(value, dict):
            yield from chain.from_iterable(map(integers, value.values()))
        elif isinstance(value, list):
            yield from chain.from_iterable(map(integers, value))
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value

    numbers = [*integers(content["pooled"]), *integers(content["sites"]), *integers(content["flow"])]
    assert numbers
    assert all(enough(number) for number in numbers)
    page = (tmp_path / "report.html").read_text()
    assert "Where the cases went" not in page
    assert "Probabilities of" not in page  # histograms count single cases


def test_too_few_patients_make_no_report_that_travels(
    tmp_path: Path, make_outcome_evaluation: Make, make_record_task: Callable[..., OutcomeTask]
) -> None:
    evaluation = evaluated(make_outcome_evaluation, "multiclass", ("no", "yes"), [(0, 0, 3), (0, 1, 9)])
    report = OutcomeReportInput(
        task=make_record_task(MultiClass(classes=("no", "yes"))), evaluation=evaluation, bootstrap=FEW
    )
    with pytest.raises(InvalidInputError, match="one of 2 patient"):
        write_outcome_report(report, tmp_path, pictures=False)
    assert not (tmp_path / "metrics.json").exists()
    write_outcome_report(report, tmp_path)
    assert (tmp_path / "report.html").is_file()
