"""Made-up records whose class follows from the signs of two numbers together, as no sum of the two tells it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from radfed.dataset.layout import Case, Datalist, write_lists
from radfed.dataset.splits import SplitName
from radfed.task import OutcomeTask

SPLITS: dict[SplitName, int] = {"training": 80, "validation": 40, "test": 60}


def rule_task(classes: Sequence[str] = ("alike", "apart"), weights: Sequence[float] | None = None) -> OutcomeTask:
    """Two numbers that matter, one that does not and is often missing, and a category that says nothing."""
    numbers = [
        {"type": "numeric", "name": name, "mean": 1.0, "deviation": 2.0} for name in ("first", "second", "other")
    ]
    content = {
        "name": "rule",
        "kind": "tabular",
        "description": "d",
        "intended_use": "i",
        "covariates": [*numbers, {"type": "categorical", "name": "group", "values": ["a", "b"]}],
        "outcome": {"type": "multiclass", "classes": list(classes)},
        "network": {},
        "class_weights": weights,
    }
    return OutcomeTask.check(content, "test")


def write_rule_dataset(root: Path, site: str, task: OutcomeTask, seed: int, only: str | None = None) -> Path:
    """A prepared dataset of ``SPLITS`` cases, or of those of them that are of one class; returns its folder.

    Of two classes, the second is of those whose numbers lie on different sides of their means; of three, it is parted
    by the first of the two numbers.
    """
    random = np.random.default_rng(seed)
    cases = [
        _case(f"{site}/{split}/{number}", split, task, random) for split, n in SPLITS.items() for number in range(n)
    ]
    chosen = tuple(case for case in cases if only is None or case.outcome == only)
    lists: dict[str, tuple[dict[str, str], ...]] = {"training": (), "validation": (), "test": ()}
    listed = Datalist(
        name=site, description="d", site=site, task=task.name, phantom=True, labels={}, channels={}, **lists
    )
    root.mkdir(parents=True)
    write_lists(root, listed, chosen, ())
    return root


def _case(key: str, split: SplitName, task: OutcomeTask, random: np.random.Generator) -> Case:
    first, second, other = (float(value) for value in random.normal(size=3))
    covariates: dict[str, float | str] = {"first": 1 + 2 * first, "second": 1 + 2 * second}
    if random.random() < 0.6:
        covariates["other"] = other
    if random.random() < 0.9:
        covariates["group"] = str(random.choice(["a", "b"]))
    apart = first * second < 0
    place = 0 if not apart else 1 if len(task.finds) == 2 or first > 0 else 2
    name = hashlib.sha256(key.encode()).hexdigest()
    return Case(
        id=f"case-{name[:12]}",
        patient=f"pat-{name[:12]}",
        split=split,
        digest=name,
        channels=0,
        covariates=covariates,
        outcome=task.finds[place],
    )
