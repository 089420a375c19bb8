"""Answers scored by group of patients, the worst first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from radfed.metrics.intervals import Bootstrap
from radfed.metrics.small_cells import tellable
from radfed.settings import Settings
from radfed.validation.grouping import Traits, grouping_of, tellable_subgroups
from radfed.validation.outcome.cohort import Cohort, cohort_of
from radfed.validation.outcome.comparison import scores_of
from radfed.validation.outcome.estimates import Estimate, of_share
from radfed.validation.outcome.results import OutcomeCase, OutcomeEvaluation
from radfed.validation.outcome.summary import OutcomeSummary


class OutcomeSubgroup(Settings):
    """Some cases that have a characteristic in common. Null: no case could show it, or too few to travel.

    Sensitivity and specificity are of the one question, where there is but one.
    """

    group: str
    cases: int
    patients: int
    positives: int | None = None
    auroc: Estimate | None = None
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    accuracy: Estimate | None = None
    brier: Estimate | None = None
    concordance: Estimate | None = None

    @property
    def area(self) -> Estimate | None:
        """By what groups are ordered."""
        return self.auroc or self.concordance


class OutcomeTraitScores(Settings):
    """The groups of one characteristic, the worst first, and how many groups are too small to travel."""

    trait: str
    groups: tuple[OutcomeSubgroup, ...]
    not_shown: int


class OutcomeSubgroups(Settings):
    """Characteristics by which the cases differ; by which they do not; and of which nothing is known."""

    traits: tuple[OutcomeTraitScores, ...] = ()
    same: dict[str, str] = Field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()


def outcome_subgroups(
    evaluation: OutcomeEvaluation,
    traits: Traits,
    summary: OutcomeSummary,
    how: Bootstrap | None = None,
    travels: bool = False,
) -> OutcomeSubgroups:
    """Score every group of every characteristic.

    Args:
        evaluation: answers by case.
        traits: what is known of each case.
        summary: with the sites that are shown by themselves.
        how: how intervals are made.
        travels: whether only areas and Brier scores are told, of groups with patients enough.
    """
    cases = evaluation.cases
    grouping = grouping_of([(case.site, case.case) for case in cases], traits)
    told = None
    if travels:
        owners = [(case.site, case.patient) for case in cases]
        told = tellable_subgroups(grouping, owners, tuple(summary.sites), [np.ones(len(cases), dtype=bool)])
    tables = []
    for trait, groups in grouping.groups.items():
        shown = [name for name in groups if told is None or (trait, name) in told]
        found = []
        for name in shown:
            chosen = [cases[i] for i in np.flatnonzero(groups[name])]
            found.append(_score(name, chosen, evaluation, how or Bootstrap(), travels))
        found.sort(key=lambda one: (one.area is None, one.area.value if one.area else 0.0, one.group))
        tables.append(OutcomeTraitScores(trait=trait, groups=tuple(found), not_shown=len(groups) - len(shown)))
    return OutcomeSubgroups(traits=tuple(tables), same=dict(grouping.same), unrecorded=grouping.unrecorded)


def _score(
    name: str, cases: Sequence[OutcomeCase], evaluation: OutcomeEvaluation, how: Bootstrap, travels: bool
) -> OutcomeSubgroup:
    cohort = cohort_of(cases, evaluation.kind, evaluation.finds)
    scores: dict[str, Any] = {str(metric): one for metric, one in scores_of(cohort, evaluation, how).items()}
    counts = {"cases": cohort.size, "patients": cohort.patient_count}
    if travels:
        kept = {"brier", *(("auroc", "concordance") if _area_is_tellable(cohort, evaluation) else ())}
        return OutcomeSubgroup(group=name, **counts, **{key: scores[key] for key in scores if key in kept})
    asked = cohort.questions(evaluation.operating)
    if len(asked) == 1:
        truth, called = asked[0].truth, asked[0].called
        scores |= {
            "positives": int(truth.sum()),
            "sensitivity": of_share(called, truth, cohort, how),
            "specificity": of_share(~called, ~truth, cohort, how),
        }
    return OutcomeSubgroup(group=name, **counts, **scores)


def _area_is_tellable(cohort: Cohort, evaluation: OutcomeEvaluation) -> bool:
    if cohort.kind == "survival":
        return tellable((cohort.events, ~cohort.events), cohort.numbers)
    asked = cohort.questions(evaluation.operating)
    return all(tellable((one.truth, ~one.truth), cohort.numbers) for one in asked)
