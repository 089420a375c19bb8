"""The report of a validation: ``report.html`` for people, ``metrics.json`` for programs.

With pictures the report shows patients' scans and a row a case, and stays where the patients are. Without, it holds
numbers over groups of patients only and may travel in a release.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from radfed.files import put_text
from radfed.metrics.policy import POLICY
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.metrics.travels import KEY
from radfed.task import SegmentationTask
from radfed.validation.background import Background, described, held_back
from radfed.validation.comparison import ComparisonRow, compare
from radfed.validation.flow import travelling_flow
from radfed.validation.page import render
from radfed.validation.pictures import CasePicture
from radfed.validation.results import Evaluation
from radfed.validation.subgroups import Subgroups, subgroups
from radfed.validation.summary import Summary, summarise
from radfed.validation.volumes import Agreement, agreement

REPORT, METRICS = "report.html", "metrics.json"


@dataclass(frozen=True, kw_only=True)
class ReportInput(Background):
    """All that a report on a segmentation model is made from.

    Attributes:
        task: the contract.
        evaluation: scores of the model that the report is about.
        baselines: other models' scores, by name, compared case by case.
        comparison: a comparison made elsewhere; used where ``baselines`` is empty.
        case_pictures: cases to show; only in a report with pictures.
    """

    task: SegmentationTask
    evaluation: Evaluation
    baselines: Mapping[str, Evaluation] = field(default_factory=dict)
    comparison: Sequence[ComparisonRow] = ()
    case_pictures: Sequence[CasePicture] = ()


@dataclass(frozen=True)
class Shown:
    """The numbers of a report, as far as it may show them.

    Attributes:
        summary: without the sites that are too small to show.
        comparison: with other models, without those sites.
        hidden: those sites.
        subgroups: by site, vendor, sex, age and projection.
        volumes: how far volumes lie from the reference, by structure; in a report that travels without the structures
            that too few patients have.
    """

    summary: Summary
    comparison: Sequence[ComparisonRow]
    hidden: Sequence[str]
    subgroups: Subgroups
    volumes: Mapping[str, Agreement]


def write_report(given: ReportInput, out: Path, pictures: bool = True, cases: bool = False) -> None:
    """Write ``report.html`` and ``metrics.json`` into ``out``, each whole or not at all.

    Args:
        given: what is known.
        out: folder, made if it is missing.
        pictures: False leaves out patient pixels, single cases, and sites with too few patients.
        cases: whether ``metrics.json`` holds a row a case, under pseudonyms.
    """
    summary, comparison, hidden = _shown(given, travels=not pictures)
    groups = subgroups(given.evaluation, given.traits, summary, given.bootstrap, travels=not pictures)
    shown = Shown(summary, comparison, hidden, groups, _volumes(given, travels=not pictures))
    if not pictures:
        given = replace(given, flow=travelling_flow(given.flow, hidden))
    out.mkdir(parents=True, exist_ok=True)
    put_text(out / REPORT, render(given, shown, pictures))
    content = metrics_of(given, shown, cases) | {KEY: not pictures and not cases}
    put_text(out / METRICS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def travelling_comparison(given: ReportInput) -> tuple[ComparisonRow, ...]:
    """The comparison that may travel: means only, without the sites that are too small to be shown by themselves."""
    return _shown(given, travels=True)[1]


def metrics_of(given: ReportInput, shown: Shown, cases: bool = False) -> dict[str, object]:
    """What ``metrics.json`` holds. HD95 in mm, volumes in ml, NSD at the task's tolerance."""
    evaluation, summary = given.evaluation, shown.summary
    content: dict[str, object] = {
        "task": given.task.name,
        "task_version": given.task.version,
        "task_digest": given.task.digest,
        "model": evaluation.model,
        "model_digest": given.model_digest,
        "phantom": given.phantom,
        "split": evaluation.split,
        "dataset_digests": dict(sorted(given.dataset_digests.items())),
        "nsd_tolerance_mm": given.task.nsd_tolerance,
        "empty_masks": POLICY,
        "intervals": described(given.bootstrap),
        "pooled": summary.pooled.model_dump(mode="json"),
        "sites": {site: group.model_dump(mode="json") for site, group in summary.sites.items()},
        "sites_not_shown": list(shown.hidden),
        "subgroups": shown.subgroups.model_dump(mode="json"),
        "volumes_ml": {name: found.model_dump(mode="json") for name, found in shown.volumes.items()},
        "comparison": [row.model_dump(mode="json") for row in shown.comparison],
        "flow": [site.model_dump(mode="json") for site in given.flow],
    }
    if cases:
        content["cases"] = [case.model_dump(mode="json") for case in evaluation.cases]
    return content


def _volumes(given: ReportInput, travels: bool) -> dict[str, Agreement]:
    found = ((label.name, agreement(given.evaluation, label.name, given.bootstrap)) for label in given.task.labels)
    return {name: one for name, one in found if one is not None and (not travels or one.patients >= LEAST_PATIENTS)}


def _shown(given: ReportInput, travels: bool) -> tuple[Summary, tuple[ComparisonRow, ...], tuple[str, ...]]:
    """The numbers, and the sites that are held back from a report that travels."""
    summary = summarise(given.evaluation, given.bootstrap)
    comparison = tuple(given.comparison)
    if given.baselines:
        comparison = compare(given.evaluation, given.baselines, given.bootstrap)
        if all(row.difference is None for row in comparison):
            comparison = ()  # the other models were scored on other cases
    if not travels:
        return summary, comparison, ()
    hidden = held_back({site: group.patients for site, group in summary.sites.items()})
    kept = {site: group for site, group in summary.sites.items() if site not in hidden}
    rows = tuple(row for row in comparison if row.site not in hidden)
    return summary.model_copy(update={"sites": kept}), rows, hidden
