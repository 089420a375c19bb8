"""Subgroups of answers as sentences, and as rows of tables."""

from radfed.validation.grouping import NAMES
from radfed.validation.outcome.subgroups import OutcomeSubgroup, OutcomeSubgroups
from radfed.validation.outcome.wording import in_words, value_and_interval
from radfed.validation.sections import Cell
from radfed.validation.subgroup_page import CHANCE, WORST, TraitTable
from radfed.validation.wording import DASH, plural

AREA_HEADS = ("cases", "patients", "yes", "AUROC", "sensitivity", "specificity", "accuracy", "Brier score")
SURVIVAL_HEADS = ("cases", "patients", "concordance")


def outcome_tables(found: OutcomeSubgroups, survival: bool) -> list[TraitTable]:
    """Rows of scores under ``AREA_HEADS``, or ``SURVIVAL_HEADS``."""
    return [
        TraitTable(NAMES[one.trait], [_cells(group, survival) for group in one.groups], one.not_shown)
        for one in found.traits
    ]


def worst_outcome_group(found: OutcomeSubgroups) -> str:
    """The group that is told apart worst, in words; empty without groups to compare."""
    ranked = [
        (group.area.value, NAMES[one.trait].lower(), group)
        for one in found.traits
        for group in one.groups
        if group.area is not None and len(one.groups) > 1
    ]
    if not ranked:
        return ""
    _, trait, group = min(ranked, key=lambda entry: entry[0])
    name = "AUROC" if group.auroc is not None else "concordance"
    return (
        f"{WORST}: {trait} {group.group}, {name} {in_words(group.area)} ({plural(group.patients, 'patient')}). {CHANCE}"
    )


def _cells(group: OutcomeSubgroup, survival: bool) -> list[Cell]:
    first: list[Cell] = [(group.group, ""), (str(group.cases), ""), (str(group.patients), "")]
    if survival:
        return [*first, value_and_interval(group.concordance)]
    return [
        *first,
        (DASH if group.positives is None else str(group.positives), ""),
        value_and_interval(group.auroc),
        value_and_interval(group.sensitivity),
        value_and_interval(group.specificity),
        value_and_interval(group.accuracy),
        value_and_interval(group.brier, 3),
    ]
