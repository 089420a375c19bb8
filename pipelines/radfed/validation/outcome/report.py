"""The report on answers: ``report.html`` for people, ``metrics.json`` for programs.

With pictures the report shows single cases and stays where the patients are. Without, it holds numbers over groups of
patients only and may travel in a release.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from radfed.errors import InvalidInputError
from radfed.files import put_text
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.metrics.travels import KEY
from radfed.task import OutcomeTask
from radfed.validation.background import Background, described, held_back
from radfed.validation.flow import travelling_flow
from radfed.validation.outcome.cohort import Question
from radfed.validation.outcome.comparison import OutcomeRow, compare_outcomes
from radfed.validation.outcome.decision import DecisionCurve, decision_curves, decision_questions
from radfed.validation.outcome.page import render_outcomes
from radfed.validation.outcome.pictures import AnswerPicture
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.subgroups import OutcomeSubgroups, outcome_subgroups
from radfed.validation.outcome.summary import OutcomeSummary, summarise_outcomes
from radfed.validation.outcome.travelling import travelling_rows, travelling_summary
from radfed.validation.report import METRICS, REPORT


@dataclass(frozen=True, kw_only=True)
class OutcomeReportInput(Background):
    """All that a report on a model with one answer a case is made from.

    Attributes:
        task: the contract.
        evaluation: answers of the model that the report is about.
        baselines: other models' answers, by name, compared case by case.
        comparison: a comparison made elsewhere; used where ``baselines`` is empty.
        case_pictures: the most confident errors and a random sample; only in a report with pictures.
    """

    task: OutcomeTask
    evaluation: OutcomeEvaluation
    baselines: Mapping[str, OutcomeEvaluation] = field(default_factory=dict)
    comparison: Sequence[OutcomeRow] = ()
    case_pictures: Sequence[AnswerPicture] = ()


@dataclass(frozen=True)
class OutcomeShown:
    """The numbers of a report, as far as it may show them.

    Attributes:
        summary: without the sites and numbers that are too small to show.
        comparison: with other models, without those.
        hidden: the sites that are not shown by themselves.
        subgroups: by site, vendor, sex, age and projection.
        decisions: the questions that have a decision curve.
        decision_curves: theirs, by question.
    """

    summary: OutcomeSummary
    comparison: Sequence[OutcomeRow]
    hidden: Sequence[str]
    subgroups: OutcomeSubgroups
    decisions: Sequence[Question]
    decision_curves: Mapping[str, DecisionCurve]


def write_outcome_report(given: OutcomeReportInput, out: Path, pictures: bool = True, cases: bool = False) -> None:
    """Write ``report.html`` and ``metrics.json`` into ``out``, each whole or not at all.

    Args:
        given: what is known.
        out: folder, made if it is missing.
        pictures: False leaves out patient pixels, single cases, and numbers of too few patients.
        cases: whether ``metrics.json`` holds a row a case, under pseudonyms.

    Raises:
        InvalidInputError: without pictures there are too few patients for any number.
    """
    summary, comparison, hidden = _shown(given, travels=not pictures)
    groups = outcome_subgroups(given.evaluation, given.traits, summary, given.bootstrap, travels=not pictures)
    decisions = decision_questions(given.evaluation, summary, travels=not pictures)
    curves = decision_curves(given.evaluation, decisions, given.bootstrap)
    shown = OutcomeShown(summary, comparison, hidden, groups, decisions, curves)
    if not pictures:
        given = replace(given, flow=travelling_flow(given.flow, hidden))
    out.mkdir(parents=True, exist_ok=True)
    content = outcome_metrics(given, shown, cases) | {KEY: not pictures and not cases}
    put_text(out / REPORT, render_outcomes(given, shown, pictures))
    put_text(out / METRICS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def travelling_outcome_comparison(given: OutcomeReportInput) -> tuple[OutcomeRow, ...]:
    """The comparison that may travel: without sites and numbers of too few patients."""
    return _shown(given, travels=True)[1]


def outcome_metrics(given: OutcomeReportInput, shown: OutcomeShown, cases: bool = False) -> dict[str, object]:
    """What ``metrics.json`` holds."""
    evaluation, task, summary = given.evaluation, given.task, shown.summary
    content: dict[str, object] = {
        "task": task.name,
        "task_version": task.version,
        "task_digest": task.digest,
        "kind": task.kind,
        "finds": list(task.finds),
        "model": evaluation.model,
        "model_digest": given.model_digest,
        "phantom": given.phantom,
        "split": evaluation.split,
        "dataset_digests": dict(sorted(given.dataset_digests.items())),
        "intervals": described(given.bootstrap),
        "operating_point": evaluation.operating.model_dump(mode="json"),
        "pooled": summary.pooled.model_dump(mode="json"),
        "sites": {site: group.model_dump(mode="json") for site, group in summary.sites.items()},
        "sites_not_shown": list(shown.hidden),
        "subgroups": shown.subgroups.model_dump(mode="json"),
        "decision_curves": {name: curve.model_dump(mode="json") for name, curve in shown.decision_curves.items()},
        "comparison": [row.model_dump(mode="json") for row in shown.comparison],
        "flow": [site.model_dump(mode="json") for site in given.flow],
    }
    if cases:
        content["cases"] = [case.model_dump(mode="json") for case in evaluation.cases]
    return content


def _shown(given: OutcomeReportInput, travels: bool) -> tuple[OutcomeSummary, tuple[OutcomeRow, ...], tuple[str, ...]]:
    """The numbers, and the sites that are held back from a report that travels."""
    summary = summarise_outcomes(given.evaluation, given.bootstrap)
    comparison = tuple(given.comparison)
    if given.baselines:
        comparison = compare_outcomes(given.evaluation, given.baselines, given.bootstrap)
        if all(row.difference is None for row in comparison):
            comparison = ()  # the other models were scored on other cases
    if not travels:
        return summary, comparison, ()
    if summary.pooled.patients < LEAST_PATIENTS:
        raise InvalidInputError(
            f"a report without pictures may be passed on, and one of {summary.pooled.patients} patient(s) must not be: "
            f"it takes {LEAST_PATIENTS}; make it with pictures, and keep it at the site"
        )
    hidden = held_back({site: group.patients for site, group in summary.sites.items()})
    told = travelling_summary(summary, given.evaluation, hidden)
    # A comparison that was made elsewhere was so made that it may travel.
    rows = travelling_rows(comparison, told, hidden) if given.baselines else comparison
    return told, rows, hidden
