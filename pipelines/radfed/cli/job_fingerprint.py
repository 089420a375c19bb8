"""``radfed job simulate fingerprint``, its twin ``radfed job submit fingerprint``, and ``radfed job plan``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.dataset.fingerprint_content import Fingerprint
    from radfed.federation.campaign_context import Orders
    from radfed.job import Job

FINGERPRINT = "fingerprint"
"""In the place of a job's name: describe the data of all sites instead of training on them."""

TaskOption = Annotated[
    str | None,
    typer.Option(
        "--task", help="For the job 'fingerprint': task.yaml, or a job's folder or name, whose data are described."
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def job_for(task: str | None, sites: Sequence[str] | None = None, min_sites: int | None = None) -> "Job":
    """The job that describes the data for a task.

    Raises:
        InvalidInputError: no task was given, or it cannot be read.
    """
    from radfed.errors import InvalidInputError
    from radfed.federation.statistics_job import fingerprint_job
    from radfed.job import find_job
    from radfed.task import read_task

    if task is None:
        raise InvalidInputError("the job 'fingerprint' needs --task: task.yaml, or a job's folder or name")
    contract = read_task(Path(task)) if Path(task).is_file() else find_job(task).task
    return fingerprint_job(contract, tuple(sites or ()), min_sites or 2)


def simulate_fingerprint(
    task: str | None, datasets: Mapping[str, Path], out: Path, min_count: int | None, noise: float | None, as_json: bool
) -> None:
    """Describe the data of sites on this machine."""
    from radfed.federation.statistics_simulate import simulate_fingerprint as run
    from radfed.site.statistics_settings import StatisticsSettings

    given = {"min_count": min_count, "noise": noise}
    careful = StatisticsSettings.check({k: v for k, v in given.items() if v is not None}, "command line")
    _report(run(job_for(task), datasets, out, careful), out, as_json)


def submit_fingerprint(job: "Job", startup_kit: Path, out: Path, orders: "Orders", as_json: bool) -> None:
    """Have the sites of a federation describe their data."""
    from radfed.federation.console import Console
    from radfed.federation.statistics_submit import submit_fingerprint as run

    with Console(startup_kit) as console:
        found = run(job, console, out, lambda text: log.print(text, markup=False, soft_wrap=True), orders)
    _report(found, out, as_json)


def plan(
    fingerprint: Annotated[Path, typer.Argument(help="fingerprint.json, or the run folder that holds it.")],
    task: Annotated[Path, typer.Option("--task", help="task.yaml to fill in.")],
    out: Annotated[Path, typer.Option(help="File for the planned contract; plan.json is written beside it.")],
    as_json: JsonFlag = False,
) -> None:
    """Make a plan from a fingerprint: spacing, intensity rule, patch, class weights and scaling in the task contract.

    What was decided, and why, stands in a comment above the contract and in plan.json.
    """
    from radfed.workflow.plan_write import plan_task

    made = plan_task(fingerprint, task, out)
    table = Table("key", "was", "is", "why")
    for decision in made.decisions:
        table.add_row(decision.key, str(decision.before), str(decision.after), decision.reason)
    log.print(table)
    if made.batch_size is not None:
        log.print(f"for job.yaml: training.batch_size: {made.batch_size}", markup=False)
    for note in made.notes:
        log.print(note, markup=False, soft_wrap=True)
    log.print(f"planned contract: {out}", markup=False, soft_wrap=True)
    emit({"task": str(out), **made.model_dump(mode="json")}, as_json)


def _report(found: "Fingerprint", out: Path, as_json: bool) -> None:
    """Write the harmonisation report, and say who is far from whom."""
    from radfed.validation.harmonisation import by_site, distances
    from radfed.validation.harmonisation_page import write_harmonisation

    report = write_harmonisation(found, out)
    all_distances = distances(found)
    far = by_site(all_distances)
    table = Table("site", "distance from the others", "foremost in")
    for site, distance in far.items():
        foremost = next(d for d in all_distances if d.site == site)
        table.add_row(site, f"{distance:.2f}", f"{foremost.about}: {foremost.here}, elsewhere {foremost.elsewhere}")
    log.print(table)
    for site, reason in found.refused.items():
        log.print(f"{site} told nothing: {reason}", style="yellow", markup=False)
    log.print(f"report: {report}", markup=False, soft_wrap=True)
    emit(
        {"run": str(out), "report": str(report), "distances": far, "fingerprint": found.model_dump(mode="json")},
        as_json,
    )
