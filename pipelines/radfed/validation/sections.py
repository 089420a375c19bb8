"""What the reports of all kinds of tasks have in common: their frame, cases, training, parity and identity."""

from collections.abc import Mapping, Sequence

import jinja2

from radfed.dataset.checks import REASONS
from radfed.metrics.travels import STAYS, TRAVELS
from radfed.task import OutcomeTask, TaskSpec
from radfed.validation import wording
from radfed.validation.background import Background
from radfed.validation.checklist import CLAIM, TRIPOD_AI, Filled, fill, read_checklist
from radfed.validation.checklist_facts import Seen, checklist_facts
from radfed.validation.history import History
from radfed.validation.summary import LEAST_FOR_INTERVAL
from radfed.validation.training_figures import learning_curves, time_by_site

Cell = tuple[str, str]
"""What a cell of a table says, and its interval below."""

MOST_CASE_ROWS = 100


def render_page(template: str, content: Mapping[str, object]) -> str:
    """Fill a template of this package; it fails on a name that it is not given."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("radfed.validation"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.globals |= {"stays": STAYS, "travels": TRAVELS}
    return environment.get_template(template).render(content)


def shared_sections(
    given: Background, task: TaskSpec, history: History | None, hidden: Sequence[str], pictures: bool
) -> dict[str, object]:
    """What the frame of every report is given.

    Args:
        given: what is known beside scores.
        task: the contract.
        history: of the training, if known.
        hidden: sites that are too small to show.
        pictures: whether the report stays at the site.
    """
    return {
        "task": task,
        "phantom": given.phantom,
        "created": given.created.strftime("%Y-%m-%d %H:%M UTC") if given.created else "",
        "pictures": pictures,
        "hidden": wording.listed(hidden) if hidden else "",
        "flow": given.flow,
        "reasons": sorted({reason for site in given.flow for reason in site.quarantined}),
        "history": history,
        "participation": wording.participation(history) if history else "",
        "curves": learning_curves(history, task.measure) if history else None,
        "times": time_by_site(history) if history else None,
        "parity": _flat(given.parity) if given.parity else [],
        "timing": given.timing or {},
        "identity": _identity(given, task),
        "bootstrap": given.bootstrap,
        "number": wording.number,
        "reason_text": lambda reason: REASONS.get(reason, reason),
        "least": LEAST_FOR_INTERVAL,
        "most_rows": MOST_CASE_ROWS,
    }


def checklists_of(given: Background, task: TaskSpec, seen: Seen) -> list[Filled]:
    """The checklists that fit the task, filled from what is known; CLAIM is of images."""
    imaging = not isinstance(task, OutcomeTask) or task.image is not None
    facts = checklist_facts(given, task, seen)
    return [fill(read_checklist(name), facts) for name in ((CLAIM,) if imaging else ()) + (TRIPOD_AI,)]


def _identity(given: Background, task: TaskSpec) -> list[tuple[str, str]]:
    """What was checked, by digest."""
    rows = [("task contract", task.digest)]
    if given.model_digest:
        rows.insert(0, ("model.onnx", given.model_digest))
    return rows + [(f"dataset of {site}", digest) for site, digest in sorted(given.dataset_digests.items())]


def _flat(content: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested results as rows of name and value; of a list of checks, how many and the largest of each fraction."""
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            checks = [item for item in value if isinstance(item, Mapping)]
            rows.append((name, f"{len(checks)} checked" if checks else ", ".join(_plain(item) for item in value)))
            rows += _largest(checks, name)
        else:
            rows.append((name, _plain(value)))
    return rows


def _largest(checks: Sequence[Mapping[str, object]], name: str) -> list[tuple[str, str]]:
    found: dict[str, float] = {}
    for check in checks:
        for key, value in check.items():
            if isinstance(value, float):
                found[key] = max(value, found.get(key, value))
    return [
        (f"{name}: largest {key.removeprefix('largest_').replace('_', ' ')}", _plain(v)) for key, v in found.items()
    ]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return wording.DASH if value is None else str(value)
