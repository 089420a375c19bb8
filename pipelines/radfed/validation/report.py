"""The report of a validation: ``report.html`` for people, ``metrics.json`` for programs.

With pictures the report shows patients' scans and a row a case, and stays where the patients are. Without, it holds
numbers over groups of patients only and may travel in a release.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from radfed.ledger import Line
from radfed.metrics.intervals import Bootstrap
from radfed.metrics.policy import POLICY
from radfed.task import TaskSpec
from radfed.validation.comparison import ComparisonRow, compare
from radfed.validation.flow import SiteFlow
from radfed.validation.page import render
from radfed.validation.pictures import CasePicture
from radfed.validation.results import Evaluation, write_atomically
from radfed.validation.summary import Summary, summarise
from radfed.validation.volumes import agreement

REPORT, METRICS = "report.html", "metrics.json"
LEAST_PATIENTS = 3
"""A site with fewer patients is not shown by itself in a report that travels: a mean of one is a person's result."""


@dataclass(frozen=True)
class ReportInput:
    """All that a report is made from.

    Attributes:
        task: the contract.
        evaluation: scores of the model that the report is about.
        flow: where each site's cases went.
        ledger: lines of the run's ``ledger.jsonl``, if known.
        baselines: other models' scores, by name, compared case by case.
        comparison: a comparison made elsewhere; used where ``baselines`` is empty.
        parity: ``parity.json`` of the release, if known.
        timing: seconds by step of this validation.
        model_digest: SHA-256 of the model file.
        dataset_digests: site to digest of its dataset.
        phantom: whether the data are made up.
        case_pictures: cases to show; only in a report with pictures.
        created: when, UTC.
        bootstrap: how intervals are made.
    """

    task: TaskSpec
    evaluation: Evaluation
    flow: Sequence[SiteFlow] = ()
    ledger: Sequence[Line] = ()
    baselines: Mapping[str, Evaluation] = field(default_factory=dict)
    comparison: Sequence[ComparisonRow] = ()
    parity: Mapping[str, object] | None = None
    timing: Mapping[str, float] | None = None
    model_digest: str = ""
    dataset_digests: Mapping[str, str] = field(default_factory=dict)
    phantom: bool = False
    case_pictures: Sequence[CasePicture] = ()
    created: datetime | None = None
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


def write_report(given: ReportInput, out: Path, pictures: bool = True, cases: bool = False) -> None:
    """Write ``report.html`` and ``metrics.json`` into ``out``, each whole or not at all.

    Args:
        given: what is known.
        out: folder, made if it is missing.
        pictures: False leaves out patient pixels, single cases, and sites with too few patients.
        cases: whether ``metrics.json`` holds a row a case, under pseudonyms.
    """
    summary, comparison, hidden = _shown(given, travels=not pictures)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / REPORT, render(given, summary, comparison, hidden, pictures))
    text = json.dumps(metrics_of(given, summary, comparison, hidden, cases), indent=1, ensure_ascii=False)
    write_atomically(out / METRICS, text + "\n")


def travelling_comparison(given: ReportInput) -> tuple[ComparisonRow, ...]:
    """The comparison that may travel: means only, without the sites that are too small to be shown by themselves."""
    return _shown(given, travels=True)[1]


def metrics_of(
    given: ReportInput,
    summary: Summary,
    comparison: Sequence[ComparisonRow],
    hidden: Sequence[str] = (),
    cases: bool = False,
) -> dict[str, object]:
    """What ``metrics.json`` holds. HD95 in mm, volumes in ml, NSD at the task's tolerance."""
    evaluation = given.evaluation
    how = given.bootstrap
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
        "intervals": {
            "level": how.level,
            "method": how.method,
            "resamples": how.resamples,
            "seed": how.seed,
            "unit": "patient, within site",
        },
        "pooled": summary.pooled.model_dump(mode="json"),
        "sites": {site: group.model_dump(mode="json") for site, group in summary.sites.items()},
        "sites_not_shown": list(hidden),
        "volumes_ml": {
            label.name: found.model_dump(mode="json")
            for label in given.task.labels
            if (found := agreement(evaluation, label.name)) is not None
        },
        "comparison": [row.model_dump(mode="json") for row in comparison],
        "flow": [site.model_dump(mode="json") for site in given.flow],
    }
    if cases:
        content["cases"] = [case.model_dump(mode="json") for case in evaluation.cases]
    return content


def held_back(patients: Mapping[str, int]) -> tuple[str, ...]:
    """The sites that a report that travels does not show by themselves.

    Those with too few patients; and, so that nobody gets their numbers back by taking the other sites from the pooled
    ones, the next smallest until all that are held back have enough patients together.

    Args:
        patients: number of patients at each site.
    """
    small = [site for site, count in patients.items() if count < LEAST_PATIENTS]
    others = sorted((count, site) for site, count in patients.items() if site not in small)
    while small and others and sum(patients[site] for site in small) < LEAST_PATIENTS:
        small.append(others.pop(0)[1])
    return tuple(sorted(small))


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
