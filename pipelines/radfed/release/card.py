"""The model card: ``README.md`` of a release, for people."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from radfed.inference.answers import column_of
from radfed.inference.operating import OperatingThresholds
from radfed.release.contents import Contents
from radfed.release.outcome_parity import OutcomeParityReport
from radfed.release.parity import ParityReport
from radfed.task import MultiClass, MultiLabel, OperatingPoint, OutcomeTask, Survival


@dataclass(frozen=True)
class _Words:
    """What is measured, and what stays at the sites, in words.

    Attributes:
        stays: what left no site.
        place: where the test cases were scored.
        column: heading of the names in the table of test scores.
        value: heading of the means.
        names: of rows, where they are not those in ``federated.json``.
    """

    stays: str = "no image"
    place: str = ", and on the network's grid"
    column: str = "label"
    value: str = "mean Dice"
    names: Mapping[str, str] = field(default_factory=dict)


def model_card(contents: Contents) -> str:
    """The card in Markdown."""
    task, parity = contents.task, contents.parity
    if isinstance(task, OutcomeTask) and isinstance(parity, OutcomeParityReport):
        template, words, details = "outcome_card.md.j2", _words(task), _of_outcome(task, parity, contents.operating)
    elif isinstance(parity, ParityReport):
        template, words, details = "model_card.md.j2", _Words(), _of_segmentation(parity)
    else:
        raise TypeError(f"a report of {type(parity).__name__} says nothing of a task of the kind {task.kind}")
    return (
        _templates()
        .get_template(template)
        .render(
            task=task,
            version=contents.version,
            name=contents.name,
            facts=contents.facts,
            sites=[site for site in contents.facts.sites if site.rounds],
            parity=parity,
            phantom=contents.phantom,
            evaluation=contents.evaluation,
            contents=contents,
            words=words,
            **details,
        )
    )


@cache
def _templates() -> Environment:
    # Markdown, not HTML: escaping would put entities into people's text.
    return Environment(
        loader=PackageLoader("radfed.release"), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )


def _of_segmentation(parity: ParityReport) -> dict[str, Any]:
    return {
        "largest": max(window.largest_difference for window in parity.windows),
        "worst_case": max(case.disagreement for case in parity.cases),
        "farthest": max(case.largest_distance_mm for case in parity.dicom),
    }


def _of_outcome(
    task: OutcomeTask, parity: OutcomeParityReport, operating: OperatingThresholds | None
) -> dict[str, Any]:
    seen = [case.input_difference for case in parity.cases if case.input_difference is not None]
    inputs = [name for name, there in (("an image", task.image is not None), ("a record", task.covariates)) if there]
    return {
        "takes": " and ".join(inputs),
        "gives": _gives(task),
        "answers": _answers(task, operating),
        "columns": [column_of(name) for name in task.finds],
        "operating": operating,
        "rule": _rule(task.operating_point),
        "largest": max(batch.largest_difference for batch in parity.batches),
        "sizes": _and(sorted({next(iter(batch.shapes.values()))[0] for batch in parity.batches})),
        "apart": max(case.largest_difference for case in parity.cases),
        "seen": max(seen) if seen else None,
        "forms": _and(dict.fromkeys(case.form for case in parity.cases if case.input_difference is not None)),
    }


def _words(task: OutcomeTask) -> _Words:
    inputs = [name for name, there in (("no image", task.image is not None), ("no record", task.covariates)) if there]
    return _Words(
        stays=" and ".join(inputs),
        place="",
        column="measure",
        value="mean",
        names={"brier": "1 - Brier score", "concordance": "concordance, mean over cases"},
    )


def _gives(task: OutcomeTask) -> str:
    match task.outcome:
        case MultiClass(classes=classes):
            return f"a probability for each of the classes {_and(classes)}; they add up to 1"
        case MultiLabel(findings=findings):
            return f"a probability of its own for each of the findings {_and(findings)}"
        case _:
            return "a log hazard: the larger, the sooner the event is to be expected"


def _answers(task: OutcomeTask, operating: OperatingThresholds | None) -> str:
    match task.outcome:
        case MultiClass(classes=classes) if operating is not None:
            return f"{classes[1]} from the threshold below on, else {classes[0]}."
        case MultiClass():
            return "The class with the highest probability."
        case MultiLabel():
            return (
                f"The findings from {'their thresholds below' if operating is not None else 'a probability of 0.5'} on."
            )
        case Survival(unit=unit):
            return (
                "None: a log hazard has no unit and no threshold. It orders patients like those of the training by "
                f"their risk (times there were in {unit}); it is neither a probability nor a time."
            )


def _rule(point: OperatingPoint) -> str:
    if point.rule == "youden":
        return "the largest sensitivity + specificity (Youden)"
    return f"a {point.rule} of at least {point.value:g}"


def _and(items: Iterable[object]) -> str:
    *others, last = [str(item) for item in items] or [""]
    return f"{', '.join(others)} and {last}" if others else last
