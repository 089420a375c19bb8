"""Subgroups as sentences, and as rows of tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from radfed.dataset.traits import TRAITS
from radfed.validation import wording
from radfed.validation.grouping import NAMES, SITE
from radfed.validation.sections import Cell
from radfed.validation.subgroups import Subgroup, Subgroups


@dataclass(frozen=True)
class TraitTable:
    """The groups of one characteristic, for the page.

    Attributes:
        name: of the characteristic.
        rows: a row of cells a group, the worst first.
        not_shown: number of groups that are too small to travel.
    """

    name: str
    rows: Sequence[Sequence[Cell]]
    not_shown: int


HEADS = ("cases", "patients", "Dice", "HD95 (mm)", "NSD", "missed", "false positive")


def mask_tables(found: Subgroups) -> list[TraitTable]:
    """Rows of masks' scores under ``HEADS``."""
    return [
        TraitTable(NAMES[one.trait], [_cells(group) for group in one.groups], one.not_shown) for one in found.traits
    ]


def worst_mask_group(found: Subgroups) -> str:
    """The group with the lowest Dice of all, in words; empty without groups to compare."""
    ranked = [
        (group.dice.mean, NAMES[one.trait].lower(), group)
        for one in found.traits
        for group in one.groups
        if group.dice is not None and len(one.groups) > 1
    ]
    if not ranked:
        return ""
    _, trait, group = min(ranked, key=lambda entry: entry[0])
    shown = wording.with_interval(group.dice, "dice")
    return f"{WORST}: {trait} {group.group}, mean Dice {shown} ({wording.plural(group.patients, 'patient')}). {CHANCE}"


WORST = "The group with the lowest score"
CHANCE = "Of many small groups one is lowest by chance too."


def on_which(same: dict[str, str], unrecorded: Sequence[str]) -> list[str]:
    """What the cases have in common, and what is not known of them: where the evaluation ends."""
    sentences = []
    alike = [f"{NAMES[trait].lower()} {value}" for trait, value in same.items() if trait in TRAITS]
    if alike:
        sentences.append(f"All cases scored here are alike in {wording.listed(alike)}: others have not been tried.")
    if SITE in same:
        sentences.append("All cases scored here are from one site: how the model does elsewhere is not shown.")
    if unrecorded:
        names = [NAMES[trait].split(" (")[0].lower() for trait in unrecorded]
        sentences.append(f"Not recorded of any case: {wording.listed(names)}. No difference in them can be shown.")
    return sentences


def _cells(group: Subgroup) -> list[Cell]:
    return [
        (group.group, ""),
        (str(group.cases), ""),
        (str(group.patients), ""),
        wording.mean_and_interval(group.dice, "dice"),
        wording.mean_and_interval(group.hd95, "hd95"),
        wording.mean_and_interval(group.nsd, "nsd"),
        (wording.DASH if group.missed is None else str(group.missed), ""),
        (wording.DASH if group.false_positives is None else str(group.false_positives), ""),
    ]
