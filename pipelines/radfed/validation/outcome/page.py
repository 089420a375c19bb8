"""From answers to the page: what the template is given."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from radfed.task import OutcomeTask, Survival
from radfed.validation import wording as shared
from radfed.validation.checklist_facts import Seen
from radfed.validation.grouping import SITE
from radfed.validation.history import history_of
from radfed.validation.outcome import curves, figures, wording
from radfed.validation.outcome.cohort import Cohort, cohort_of
from radfed.validation.outcome.comparison import OutcomeRow
from radfed.validation.outcome.decision import DecisionCurve
from radfed.validation.outcome.errors import verdicts_of
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.outcome.subgroup_page import AREA_HEADS, SURVIVAL_HEADS, outcome_tables, worst_outcome_group
from radfed.validation.outcome.summary import OutcomeGroup, OutcomeSummary, QuestionScores
from radfed.validation.outcome.travelling import travelling_question
from radfed.validation.pictures import SAMPLE_SEED
from radfed.validation.sections import MOST_CASE_ROWS, Cell, checklists_of, render_page, shared_sections
from radfed.validation.subgroup_page import on_which

if TYPE_CHECKING:
    from radfed.validation.drawing import Picture
    from radfed.validation.outcome.report import OutcomeReportInput, OutcomeShown

MOST_LINES = 7
"""Curves in one plot: more are not told apart."""
MOST_PANELS = 6
"""Decision curves, one a panel."""


def render_outcomes(given: "OutcomeReportInput", shown: "OutcomeShown", pictures: bool) -> str:
    """The page as HTML that refers to nothing outside itself.

    Args:
        given: what is known.
        shown: the numbers.
        pictures: False leaves out everything about single cases.
    """
    evaluation, task, summary, comparison = given.evaluation, given.task, shown.summary, shown.comparison
    pooled, groups, survival = summary.pooled, shown.subgroups, isinstance(task.outcome, Survival)
    history = history_of(given.ledger)
    patients = {site: group.patients for site, group in summary.sites.items()}
    where = [wording.spread(summary.sites), wording.undefined(summary.sites, travels=not pictures)]
    seen = Seen(
        cases=pooled.cases, patients=pooled.patients, sites=evaluation.sites, split=evaluation.split, history=history,
        traits=tuple(one.trait for one in groups.traits if one.trait != SITE),
        pictures=pictures and bool(given.case_pictures), decision_curve=bool(shown.decisions),
    )  # fmt: skip
    content = shared_sections(given, task, history, shown.hidden, pictures) | {
        "checklists": checklists_of(given, task, seen),
        "subgroup_tables": outcome_tables(groups, survival),
        "subgroup_heads": SURVIVAL_HEADS if survival else AREA_HEADS,
        "on_whom": shared.on_whom(pooled.cases, pooled.patients, evaluation.sites, evaluation.split, history),
        "how_good": [*wording.how_good(summary), *where, worst_outcome_group(groups)],
        "limitations": [
            *shared.limitations(task, pooled.patients, patients, given.phantom, given.flow, wording.RECORDED),
            *on_which(groups.same, groups.unrecorded),
        ],
        "facts": _facts(summary),
        "survival": survival,
        "asked": wording.truth_of(task),
        "operating": wording.operating(evaluation, task.operating_point),
        "question_rows": _question_rows(summary),
        "group_rows": _group_rows(summary),
        "areas_figure": figures.areas_by_site(summary),
        "plots": _plots(evaluation, task, summary, pictures),
        "decision_figure": curves.decision(shown.decisions[:MOST_PANELS]),
        "decision_tables": _decision_tables(shown.decision_curves),
        "classes": [shared.spoken(name) for name in task.finds] if pooled.confusion else [],
        "confusion": pooled.confusion,
        "compared_here": bool(given.baselines),
        "verdicts": wording.verdicts(comparison) if given.baselines else [],
        "comparison_figure": figures.models_beside(comparison),
        "comparison_columns": [wording.NAMES[name] for name in _metrics(comparison)],
        "comparison_table": _comparison_table(comparison),
        "cases": given.case_pictures if pictures else (),
        "picture_choices": _picture_choices(given),
        "case_rows": _case_rows(evaluation) if pictures else [],
        "case_total": len(evaluation.cases),
    }
    return render_page("outcome.html.j2", content)


def _picture_choices(given: "OutcomeReportInput") -> list[tuple[str, str, str]]:
    """How the cases in pictures were chosen: choice, heading, and sentence."""
    failures, sample = (sum(one.choice == choice for one in given.case_pictures) for choice in ("failure", "random"))
    total = len(given.evaluation.cases)
    return [
        (
            "failure", "Failures",
            f"The {shared.plural(failures, 'wrong answer')} farthest from the truth, "
            "farthest first: what goes wrong at worst, not what is usual.",
        ),
        (
            "random", "Random sample",
            f"{shared.plural(sample, 'case')} drawn by lot from all {total} (seed {SAMPLE_SEED}), whatever was "
            "answered: what is usual. A case can be among the failures too.",
        ),
    ]  # fmt: skip


def _facts(summary: OutcomeSummary) -> list[tuple[str, str, str]]:
    """Name, value and interval of the numbers at the top."""
    pooled = summary.pooled
    name, area = wording.headline(summary)
    found = [(name[0].upper() + name[1:], area)]
    if pooled.survival is None:
        found += [("Accuracy", pooled.accuracy), ("Brier score", pooled.brier)]
        if len(pooled.questions) == 1:
            answers = next(iter(pooled.questions.values())).answers
            found[1:1] = [("Sensitivity", answers.sensitivity), ("Specificity", answers.specificity)]
    facts = []
    for name, value in found:
        shown, interval = wording.value_and_interval(value)
        facts.append((name, shown, f"95% interval {interval}" if interval else "no interval can be given"))
    return facts


def _decision_tables(found: Mapping[str, DecisionCurve]) -> list[tuple[str, list[list[Cell]]]]:
    """By question: from which probability on is acted, and the net benefit of the model, of all, and of none."""
    return [
        (
            shared.spoken(name),
            [
                [
                    (f"{point.threshold:.0%}", ""),
                    wording.value_and_interval(point.model, 3),
                    (shared.number(point.treat_all, 3), ""),
                    (shared.number(0.0, 3), ""),
                ]
                for point in curve.points
            ],
        )
        for name, curve in found.items()
    ]


def _groups(summary: OutcomeSummary) -> list[tuple[str, OutcomeGroup]]:
    groups = list(summary.sites.items())
    return groups if len(groups) == 1 else [*groups, ("all sites", summary.pooled)]


def _question_rows(summary: OutcomeSummary) -> list[tuple[str, int, int, list[list[Cell]]]]:
    """Per site, then pooled: name, cases, patients, and a row of cells per question."""
    return [
        (
            name, group.cases, group.patients,
            [_question_cells(asked, scores) for asked, scores in group.questions.items()],
        )
        for name, group in _groups(summary)
        if group.questions
    ]  # fmt: skip


def _question_cells(name: str, scores: QuestionScores) -> list[Cell]:
    answers = scores.answers
    return [
        (shared.spoken(name), "" if answers.threshold is None else f"from {answers.threshold:.3g} on"),
        (_count(scores.positives), ""),
        (_count(scores.negatives), ""),
        *(
            wording.value_and_interval(value)
            for value in (
                scores.auroc, scores.average_precision, answers.sensitivity, answers.specificity,
                answers.positive_predictive_value, answers.negative_predictive_value,
            )
        ),
    ]  # fmt: skip


def _count(number: int | None) -> str:
    return shared.DASH if number is None else str(number)


def _group_rows(summary: OutcomeSummary) -> list[list[Cell]]:
    """Per site, then pooled: what is one number a site."""
    rows: list[list[Cell]] = []
    for name, group in _groups(summary):
        if group.survival is not None:
            counts = [(_count(n), "") for n in (group.cases, group.survival.events, group.survival.pairs)]
            rows.append([(name, ""), *counts, wording.value_and_interval(group.survival.concordance)])
            continue
        found = [scores.calibration for scores in group.questions.values()]
        one = found[0] if len(found) == 1 else None
        known = [calibration.error for calibration in found if calibration is not None]
        rows.append(
            [
                (name, ""),
                wording.value_and_interval(group.auroc),
                wording.value_and_interval(group.average_precision),
                wording.value_and_interval(group.accuracy),
                wording.value_and_interval(group.brier, 3),
                (shared.number(sum(known) / len(known) if known else None, 3), ""),
                (shared.number(one.slope if one else None), ""),
                (shared.number(one.intercept if one else None), ""),
            ]
        )
    return rows


def _plots(
    evaluation: OutcomeEvaluation, task: OutcomeTask, summary: OutcomeSummary, pictures: bool
) -> "list[Picture]":
    """Curves and histograms; what shows single sites' or patients' steps only where the report stays at the site."""
    cohort = cohort_of(evaluation.cases, evaluation.kind, evaluation.finds)
    if isinstance(task.outcome, Survival):
        shown = [curves.survival_by_risk(cohort, task.outcome.unit)] if pictures else []
    elif pictures:
        lines = _lines(evaluation, cohort, summary)
        asked = cohort.questions(evaluation.operating)[:MOST_LINES]
        shown = [
            curves.roc(lines),
            curves.precision_recall(lines),
            curves.calibration(lines),
            curves.score_histograms(asked, evaluation.operating.thresholds),
        ]
    else:
        lines, dots = _travelling_lines(evaluation, cohort, summary.pooled)
        shown = [curves.roc(lines, dots), curves.precision_recall(lines), curves.calibration(lines)]
    return [picture for picture in shown if picture is not None]


def _travelling_lines(
    evaluation: OutcomeEvaluation, cohort: Cohort, pooled: OutcomeGroup
) -> tuple[curves.Lines, list[str]]:
    """One line a question of all sites together, in runs of enough patients, and those whose operating point is told.

    Of more than two classes the answers follow from no threshold, so they do not stand where a run ends.
    """
    lines, dots = [], []
    asked = cohort.questions(evaluation.operating)
    for question in asked[:MOST_LINES]:
        told = pooled.questions[question.name].answers.true_positives is not None
        coarse = travelling_question(question, cohort, told)
        name = shared.spoken(question.name) if len(asked) > 1 else "all sites"
        if coarse is not None:
            lines.append((name, coarse))
            if told and question.name in evaluation.operating.thresholds:
                dots.append(name)
    return lines, dots


def _lines(evaluation: OutcomeEvaluation, cohort: Cohort, summary: OutcomeSummary) -> curves.Lines:
    """One line a question; of one question all sites together, and each by itself."""
    asked = cohort.questions(evaluation.operating)
    if len(asked) > 1:
        return [(shared.spoken(question.name), question) for question in asked[:MOST_LINES]]
    lines = [("all sites", asked[0])]
    if len(summary.sites) > 1:
        for site in list(summary.sites)[: MOST_LINES - 1]:
            part = cohort_of(evaluation.at(site), evaluation.kind, evaluation.finds)
            lines.append((site, part.questions(evaluation.operating)[0]))
    return lines


def _metrics(rows: Sequence[OutcomeRow]) -> list[str]:
    return list(dict.fromkeys(row.metric for row in rows))


def _comparison_table(rows: Sequence[OutcomeRow]) -> list[tuple[str, list[list[Cell]]]]:
    """Per place: model, cases, the first metric, its paired difference and p, and the other metrics."""
    places = sorted({row.site for row in rows if row.site is not None})
    columns: list[str | None] = [*places, None] if len(places) != 1 else list(places)
    metrics, table = _metrics(rows), []
    for place in columns:
        here = {(row.model, row.metric): row for row in rows if row.site == place}
        lines: list[list[Cell]] = []
        for model in dict.fromkeys(model for model, _ in here):
            found = [
                next((r for (m, name), r in here.items() if (m, name) == (model, metric)), None) for metric in metrics
            ]
            first = found[0]
            lines.append(
                [
                    (model, ""),
                    (str(next(row.cases for row in found if row is not None)), ""),
                    wording.value_and_interval(first.score if first else None, 3),
                    wording.value_and_interval(first.difference if first else None, 3, signed=True),
                    (wording.probability(first.p if first else None), ""),
                    *(wording.value_and_interval(row.score if row else None, 3) for row in found[1:]),
                ]
            )
        table.append((place or "all sites", lines))
    return table


def _case_rows(evaluation: OutcomeEvaluation) -> list[tuple[str, list[str]]]:
    """The answers farthest from the truth first."""
    return [
        (
            f"{one.case.site} {one.case.case}",
            [shared.spoken(one.truth), shared.spoken(one.answer), shared.number(one.probability, 3),
             "right" if one.right else "wrong"],
        )
        for one in verdicts_of(evaluation)[:MOST_CASE_ROWS]
    ]  # fmt: skip
