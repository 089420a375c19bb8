"""``radfed job simulate validation`` and ``leakage``, and their twins of ``radfed job submit``: ask about a release."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.federation.campaign_context import Orders
    from radfed.job import Job

QUESTIONS = ("validation", "leakage")
"""In the place of a job's name: what is asked about a release."""

ReleaseOption = Annotated[
    Path | None,
    typer.Option("--release", help="For the jobs 'validation' and 'leakage': folder of the release asked about."),
]
SplitOption = Annotated[
    Literal["training", "validation", "test", "all"],
    typer.Option("--split", help="For 'validation': which cases are scored; all for sites that did not train it."),
]


def question_for(
    purpose: str, release: Path | None, split: str, sites: Sequence[str] | None = None, min_sites: int | None = None
) -> "Job":
    """The job that asks about a release.

    Raises:
        InvalidInputError: no release was given, or it is none.
    """
    from radfed.errors import InvalidInputError
    from radfed.federation.question import KINDS, question_job

    if release is None:
        raise InvalidInputError(f"the job {purpose!r} needs --release: the folder of a release")
    return question_job(KINDS[purpose].purpose, release, split, tuple(sites or ()), min_sites or 2)


def simulate_question(
    purpose: str, release: Path | None, split: str, datasets: Mapping[str, Path], out: Path, as_json: bool
) -> None:
    """Ask sites on this machine."""
    from radfed.federation.question import ANSWERS, KINDS
    from radfed.federation.single_simulate import simulate_once

    job = question_for(purpose, release, split)
    with log.status(f"{len(datasets)} sites answer, each at home"):
        simulate_once(job, datasets, out, (KINDS[purpose].result, ANSWERS), releases=release)
    _report(purpose, release, out, as_json)


def submit_question(
    job: "Job", release: Path | None, startup_kit: Path, out: Path, orders: "Orders", as_json: bool
) -> None:
    """Ask the sites of a federation."""
    from radfed.federation.console import Console
    from radfed.federation.question import ANSWERS, KINDS
    from radfed.federation.single_submit import submit_once
    from radfed.metrics.signed import SITES

    wanted = (KINDS[job.purpose].result, ANSWERS, SITES)
    with Console(startup_kit) as console:
        submit_once(
            job, console, out, wanted, lambda text: log.print(text, markup=False, soft_wrap=True), orders
        )  # fmt: skip
    _report(job.purpose, release, out, as_json)


def _report(purpose: str, release: Path | None, out: Path, as_json: bool) -> None:
    """Say who answered, and show the result."""
    from radfed.federation.question import ANSWERS, Told

    told = Told.model_validate_json((out / ANSWERS).read_bytes())
    for site, reason in told.refused.items():
        log.print(f"{site} told nothing: {reason}", style="yellow", markup=False)
    shown: Mapping[str, Callable[[Path, Path, Mapping[str, str]], dict[str, object]]]
    shown = {"validation": _validation, "leakage": _leakage}
    assert release is not None  # question_for refuses it
    result = shown[purpose](out, release, told.refused)
    emit({"run": str(out), "sites": sorted(told.answers), "silent": told.refused, **result}, as_json)
    if result.get("verdict") == "fail":
        raise typer.Exit(3)


def _validation(out: Path, release: Path, refused: Mapping[str, str]) -> dict[str, object]:
    from radfed.metrics.mask_sums import MaskGroup
    from radfed.metrics.site_validation import FederatedValidation
    from radfed.validation.federated import write_federated

    found = FederatedValidation.model_validate_json((out / "validation.json").read_bytes())
    report = write_federated(found, refused, release, out)
    table = Table("site", "cases", "patients", "what", "value")
    for site, group in [*found.sites.items(), ("all sites", found.pooled)]:
        if isinstance(group, MaskGroup):
            what, value = "mean Dice", group.mean.dice.mean if group.mean.dice else None
        else:
            what, value = "accuracy", group.accuracy.mean if group.accuracy else None
        table.add_row(
            site, str(group.cases), str(group.patients), what, "not told" if value is None else f"{value:.3f}"
        )  # fmt: skip
    log.print(table)
    log.print(f"report: {report}", markup=False, soft_wrap=True)
    return {"report": str(report), "metrics": str(out / "metrics.json"), "pooled": found.pooled.model_dump(mode="json")}


def _leakage(out: Path, release: Path, refused: Mapping[str, str]) -> dict[str, object]:
    from radfed.cli.audit import say_verdict
    from radfed.privacy.leakage import Leakage
    from radfed.privacy.leakage_file import LEAKAGE
    from radfed.validation.leakage_page import write_page

    found = Leakage.model_validate_json((out / LEAKAGE).read_bytes())
    page = write_page(found, out)
    say_verdict(found, page)
    return {
        "verdict": found.verdict, "reasons": list(found.reasons), "leakage": str(out / LEAKAGE), "report": str(page),
    }  # fmt: skip
