"""Cases by site, scanner vendor, sex, age band and projection; and which of these groups may travel."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Dataset
from radfed.dataset.traits import TRAITS, UNKNOWN, Trait, traits_of
from radfed.metrics.disclosure import told_groups
from radfed.metrics.small_cells import numbered
from radfed.task import OutcomeTask, TaskSpec

SITE = "site"
NAMES: Mapping[str, str] = {
    SITE: "Site", "vendor": "Scanner vendor", "sex": "Sex", "age": "Age (years)", "projection": "Projection",
}  # fmt: skip

CaseKey = tuple[str, str]
"""Site and pseudonym of a case."""
Traits = Mapping[CaseKey, Mapping[Trait, str]]
Cells = NDArray[np.bool_]
"""Which cases are meant ``(N,)``."""


@dataclass(frozen=True)
class Grouping:
    """Cases in groups.

    Attributes:
        groups: by characteristic, those that part the cases: name of the group to its cases.
        same: characteristics that are the same for all cases.
        unrecorded: characteristics of which nothing is known.
    """

    groups: Mapping[str, Mapping[str, Cells]]
    same: Mapping[str, str]
    unrecorded: tuple[str, ...]


def traits_by_case(datasets: Sequence[Dataset], task: TaskSpec) -> dict[CaseKey, dict[Trait, str]]:
    """What ``cases.jsonl`` says of every case, in closed groups."""
    units = {one.name: getattr(one, "unit", "") for one in task.covariates} if isinstance(task, OutcomeTask) else {}
    return {(dataset.site, case.id): traits_of(case, units) for dataset in datasets for case in dataset.cases}


def grouping_of(cases: Sequence[CaseKey], traits: Traits) -> Grouping:
    """Part cases by site and by every trait."""
    said: dict[str, list[str]] = {SITE: [site for site, _ in cases]}
    said |= {trait: [traits.get(key, {}).get(trait, UNKNOWN) for key in cases] for trait in TRAITS}
    groups, same, unrecorded = {}, {}, []
    for trait, values in said.items():
        names = sorted(set(values))
        if len(names) > 1:
            groups[trait] = {name: np.array([value == name for value in values]) for name in names}
        elif names == [UNKNOWN]:
            unrecorded.append(trait)
        elif names:
            same[trait] = names[0]
    return Grouping(groups, same, tuple(unrecorded))


def tellable_subgroups(
    grouping: Grouping, owners: Sequence[Hashable], shown_sites: Sequence[str], measured: Sequence[Cells]
) -> set[tuple[str, str]]:
    """Which groups may travel, as pairs of characteristic and group.

    Sites are shown or not for all of a report. The other groups are told only as far as no number of few patients
    follows from them, all cases, and the sites together.

    Args:
        grouping: of the cases.
        owners: whose each case is ``(N,)``.
        shown_sites: those that the report shows by themselves.
        measured: for every number that is told of a group, the cases that have it.
    """
    patients = numbered(owners)
    sites = grouping.groups.get(SITE, {})
    fixed = [np.ones(len(patients), dtype=bool), *(sites[site] for site in shown_sites if site in sites)]
    others: dict[tuple[str, str], Cells] = {
        (trait, name): cells
        for trait, groups in grouping.groups.items()
        if trait != SITE
        for name, cells in groups.items()
    }
    told = set(others)
    for known in measured:
        inside = {key: cells & known for key, cells in others.items() if key in told}
        none = {key for key, cells in inside.items() if not cells.any()}
        told = none | told_groups(inside, [cells & known for cells in fixed], patients)
    shown = {(SITE, site) for site in shown_sites if site in sites}
    return shown | told
