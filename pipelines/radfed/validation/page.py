"""From results to the page: what the template is given."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from radfed.metrics.policy import POLICY
from radfed.validation import figures, wording
from radfed.validation.checklist_facts import Seen
from radfed.validation.comparison import ComparisonRow
from radfed.validation.drawing import Picture
from radfed.validation.grouping import SITE
from radfed.validation.history import history_of
from radfed.validation.pictures import SAMPLE_SEED, choose_failures, choose_sample
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.sections import MOST_CASE_ROWS, Cell, checklists_of, render_page, shared_sections
from radfed.validation.subgroup_page import HEADS, mask_tables, on_which, worst_mask_group
from radfed.validation.summary import GroupSummary, Scores, Summary, case_value
from radfed.validation.volumes import Agreement

if TYPE_CHECKING:
    from radfed.validation.report import ReportInput, Shown

MOST_PANELS = 6


def render(given: "ReportInput", shown: "Shown", pictures: bool) -> str:
    """The page as HTML that refers to nothing outside itself.

    Args:
        given: what is known.
        shown: the numbers.
        pictures: False leaves out everything about single cases.
    """
    evaluation, task, summary, comparison = given.evaluation, given.task, shown.summary, shown.comparison
    history = history_of(given.ledger)
    pooled, groups = summary.pooled, shown.subgroups
    patients = {site: group.patients for site, group in summary.sites.items()}
    seen = Seen(
        cases=pooled.cases, patients=pooled.patients, sites=evaluation.sites, split=evaluation.split, history=history,
        traits=tuple(one.trait for one in groups.traits if one.trait != SITE), pictures=pictures, decision_curve=False,
    )  # fmt: skip
    content = shared_sections(given, task, history, shown.hidden, pictures) | {
        "checklists": checklists_of(given, task, seen),
        "subgroup_tables": mask_tables(groups),
        "subgroup_heads": HEADS,
        "on_whom": wording.on_whom(pooled.cases, pooled.patients, evaluation.sites, evaluation.split, history),
        "how_good": [
            *wording.how_good(summary, task),
            wording.spread_between_sites(summary.sites),
            worst_mask_group(groups),
        ],
        "limitations": [
            *wording.limitations(task, pooled.patients, patients, given.phantom, given.flow, wording.DRAWN),
            *on_which(groups.same, groups.unrecorded),
        ],
        "facts": _facts(summary),
        "results": _results(summary),
        "dice_figure": figures.dice_by_case(evaluation) if pictures else figures.dice_by_site(summary),
        "volume_rows": [_volume_cells(name, found) for name, found in shown.volumes.items()],
        "volume_figures": _volume_figures(evaluation, shown.volumes) if pictures else [],
        "compared_here": bool(given.baselines),
        "verdicts": wording.verdicts(comparison) if given.baselines else [],
        "comparison_figure": figures.models_side_by_side(comparison),
        "comparison_table": _comparison_table(comparison),
        "cases": given.case_pictures if pictures else (),
        "picture_choices": _picture_choices(evaluation),
        "case_rows": _case_rows(evaluation) if pictures else [],
        "case_total": len(evaluation.cases),
        "policy": POLICY,
    }
    return render_page("segmentation.html.j2", content)


def _picture_choices(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """How the cases in pictures were chosen: choice, heading, and sentence."""
    failures, sample = len(choose_failures(evaluation)), len(choose_sample(evaluation))
    return [
        (
            "failure", "Failures",
            f"The {wording.plural(failures, 'case')} with the lowest mean Dice of all {len(evaluation.cases)}, lowest "
            "first: what goes wrong at worst, not what is usual.",
        ),
        (
            "random", "Random sample",
            f"{wording.plural(sample, 'case')} drawn by lot from all {len(evaluation.cases)} (seed {SAMPLE_SEED}), "
            "whatever they scored: what is usual. A case can be among the failures too.",
        ),
    ]  # fmt: skip


def _facts(summary: Summary) -> list[tuple[str, str, str]]:
    """Name, value and interval of the numbers at the top."""
    mean = summary.pooled.mean
    facts = []
    for name, metric, unit in (("Dice", "dice", ""), ("HD95", "hd95", " mm"), ("NSD", "nsd", "")):
        found = getattr(mean, metric)
        if found is None:
            continue
        digits = 1 if metric == "hd95" else 2
        span = "no interval: too few patients"
        if found.low is not None:
            span = f"95% interval {wording.number(found.low, digits)} to {wording.number(found.high, digits)}"
        facts.append((name, wording.number(found.mean, digits) + unit, span))
    counts = mean.counts
    facts.append(("Missed", str(counts.missed), f"of {counts.compared + counts.missed} structures present"))
    return facts


def _results(summary: Summary) -> list[tuple[str, int, int, list[list[Cell]]]]:
    """Per site, then pooled: name, cases, patients, and a row of cells per label and for their mean."""
    groups = list(summary.sites.items())
    if len(groups) != 1:
        groups.append(("all sites", summary.pooled))
    return [(name, group.cases, group.patients, _rows(group)) for name, group in groups]


def _rows(group: GroupSummary) -> list[list[Cell]]:
    rows = [_cells(name, scores) for name, scores in group.labels.items()]
    return rows if len(rows) == 1 else [*rows, _cells("mean of all", group.mean)]


def _cells(name: str, scores: Scores) -> list[Cell]:
    counts = scores.counts
    return [
        (wording.spoken(name), ""),
        wording.mean_and_interval(scores.dice, "dice"),
        (wording.number(scores.dice.median if scores.dice else None), ""),
        wording.mean_and_interval(scores.hd95, "hd95"),
        (wording.number(scores.hd95.median if scores.hd95 else None, 1), ""),
        wording.mean_and_interval(scores.nsd, "nsd"),
        (str(counts.missed), ""),
        (str(counts.false_positives), ""),
        (str(counts.both_empty), ""),
    ]


def _comparison_table(rows: Sequence[ComparisonRow]) -> list[tuple[str, list[list[Cell]]]]:
    """Per place: model, cases, Dice, paired difference of Dice, HD95, NSD."""
    places = [*sorted({row.site for row in rows if row.site is not None})]
    columns: list[str | None] = [*places, None] if len(places) != 1 else list(places)
    table = []
    for place in columns:
        here = {(row.model, row.metric): row for row in rows if row.site == place}
        lines = []
        for model in dict.fromkeys(model for model, _ in here):
            dice = here.get((model, "dice"))
            if dice is None:
                continue
            hd95, nsd = here.get((model, "hd95")), here.get((model, "nsd"))
            lines.append(
                [
                    (model, ""),
                    (str(dice.score.cases), ""),
                    wording.mean_and_interval(dice.score, "dice"),
                    wording.mean_and_interval(dice.difference, "dice", signed=True),
                    wording.mean_and_interval(hd95.score if hd95 else None, "hd95"),
                    wording.mean_and_interval(nsd.score if nsd else None, "nsd"),
                ]
            )
        table.append((place or "all sites", lines))
    return table


def _volume_cells(name: str, found: Agreement) -> list[Cell]:
    def span(bounds: tuple[float, float] | None) -> str:
        return f"{wording.number(bounds[0])} to {wording.number(bounds[1])}" if bounds else ""

    return [
        (wording.spoken(name), ""),
        (str(found.cases), ""),
        (wording.number(found.mean_reference_ml), ""),
        (wording.number(found.bias_ml), span(found.bias_interval_ml)),
        (wording.number(found.low_ml), span(found.low_interval_ml)),
        (wording.number(found.high_ml), span(found.high_interval_ml)),
    ]


def _volume_figures(evaluation: Evaluation, volumes: Mapping[str, Agreement]) -> list[Picture]:
    return [figures.bland_altman(evaluation, label, found) for label, found in islice(volumes.items(), MOST_PANELS)]


def _case_rows(evaluation: Evaluation) -> list[tuple[CaseResult, list[list[str]]]]:
    """The cases with the lowest Dice first."""
    ranked = sorted(evaluation.cases, key=lambda case: (_rank(case), case.site, case.case))
    rows = []
    for case in ranked[:MOST_CASE_ROWS]:
        cells = [
            [
                wording.spoken(result.label),
                result.outcome.replace("_", " "),
                wording.number(result.dice),
                wording.number(result.hd95, 1),
                wording.number(result.nsd),
                wording.number(result.reference_ml),
                wording.number(result.prediction_ml),
            ]
            for result in case.labels
        ]
        rows.append((case, cells))
    return rows


def _rank(case: CaseResult) -> float:
    value = case_value(case, "dice")
    return 2.0 if value is None else value
