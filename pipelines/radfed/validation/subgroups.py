"""Masks scored by group of patients, the worst first."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from radfed.metrics.intervals import Bootstrap
from radfed.settings import Settings
from radfed.validation.grouping import Traits, grouping_of, tellable_subgroups
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.summary import METRICS, Statistic, Summary, case_value, count_outcomes, statistic


class Subgroup(Settings):
    """Some cases that have a characteristic in common; each with its mean over labels."""

    group: str
    cases: int
    patients: int
    dice: Statistic | None
    hd95: Statistic | None
    nsd: Statistic | None
    missed: int | None
    false_positives: int | None


class TraitScores(Settings):
    """The groups of one characteristic, lowest Dice first, and how many groups are too small to travel."""

    trait: str
    groups: tuple[Subgroup, ...]
    not_shown: int


class Subgroups(Settings):
    """Characteristics by which the cases differ; by which they do not; and of which nothing is known."""

    traits: tuple[TraitScores, ...] = ()
    same: dict[str, str] = Field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()


def subgroups(
    evaluation: Evaluation, traits: Traits, summary: Summary, how: Bootstrap | None = None, travels: bool = False
) -> Subgroups:
    """Score every group of every characteristic.

    Args:
        evaluation: scores by case.
        traits: what is known of each case.
        summary: with the sites that are shown by themselves.
        how: how intervals are made.
        travels: whether groups of too few patients, and counts of failures, are left out.
    """
    cases = evaluation.cases
    values = {metric: [case_value(case, metric) for case in cases] for metric in METRICS}
    grouping = grouping_of([(case.site, case.case) for case in cases], traits)
    told = None
    if travels:
        measured = [np.array([value is not None for value in found]) for found in values.values()]
        told = tellable_subgroups(
            grouping, [(c.site, c.patient) for c in cases], tuple(summary.sites), [np.ones(len(cases), bool), *measured]
        )
    tables = []
    for trait, groups in grouping.groups.items():
        shown = [name for name in groups if told is None or (trait, name) in told]
        found = [_score(name, [cases[i] for i in np.flatnonzero(groups[name])], how, travels) for name in shown]
        found.sort(key=lambda one: (one.dice is None, one.dice.mean if one.dice else 0.0, one.group))
        tables.append(TraitScores(trait=trait, groups=tuple(found), not_shown=len(groups) - len(shown)))
    return Subgroups(traits=tuple(tables), same=dict(grouping.same), unrecorded=grouping.unrecorded)


def _score(name: str, cases: Sequence[CaseResult], how: Bootstrap | None, travels: bool) -> Subgroup:
    found = {metric: statistic(cases, [case_value(case, metric) for case in cases], how) for metric in METRICS}
    counts = count_outcomes([result for case in cases for result in case.labels])
    return Subgroup(
        group=name,
        cases=len(cases),
        patients=len({(case.site, case.patient) for case in cases}),
        **found,
        missed=None if travels else counts.missed,
        false_positives=None if travels else counts.false_positives,
    )
