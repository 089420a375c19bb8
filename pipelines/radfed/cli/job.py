"""``radfed job``: list, show, export and simulate federated trainings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from radfed.cli.console import emit, log
from radfed.cli.job_federated import fetch, submit, watch
from radfed.cli.job_fingerprint import FINGERPRINT, TaskOption, job_for, plan, simulate_fingerprint
from radfed.cli.job_options import AnyJob, Campaign, LinkRounds, LocalSteps, MinSites, Rounds, Seed, Sites
from radfed.cli.job_question import QUESTIONS, ReleaseOption, SplitOption, question_for, simulate_question

if TYPE_CHECKING:
    from radfed.job import Job

app = typer.Typer(no_args_is_help=True, help="Federated trainings: list, show, simulate, submit, watch, fetch.")

JobName = Annotated[str, typer.Argument(help="A job's folder, or the name of a shipped job.", metavar="JOB")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command("list")
def list_jobs(as_json: JsonFlag = False) -> None:
    """List the jobs that come with radfed."""
    from radfed.job import Job, shipped_jobs

    jobs = {name: Job.read_folder(folder) for name, folder in shipped_jobs().items()}
    table = Table("job", "network", "rounds", "steps a round", "what it finds")
    for name, job in jobs.items():
        federation = job.job.federation
        finds = ", ".join(job.task.finds)
        table.add_row(name, job.task.network.name, str(federation.rounds), str(federation.local_steps), finds)
    log.print(table)
    emit({"jobs": {name: job.model_dump(mode="json") for name, job in jobs.items()}}, as_json)


@app.command()
def show(job: JobName, as_json: JsonFlag = False) -> None:
    """Show a job with all defaults filled in: the task contract and how the sites train."""
    from radfed.job import find_job

    found = find_job(job)
    if as_json:
        emit(found.model_dump(mode="json"), as_json)
    else:
        typer.echo(found.to_yaml())


@app.command()
def export(
    job: AnyJob,
    out: Annotated[Path, typer.Option(help="Folder for the FLARE job; it is made as OUT/<job name>.")],
    rounds: Rounds = None,
    local_steps: LocalSteps = None,
    link_rounds: LinkRounds = None,
    seed: Seed = None,
    sites: Sites = None,
    min_sites: MinSites = None,
    campaign: Campaign = None,
    task: TaskOption = None,
    release: ReleaseOption = None,
    split: SplitOption = "test",
    as_json: JsonFlag = False,
) -> None:
    """Write a FLARE job that carries settings only, for FLARE's admin console (submit_job).

    The same folder, submitted again, goes on where the training stopped; 'radfed job submit' does so by itself.
    The job 'fingerprint' describes the sites' data for a task instead of training it; 'validation' and 'leakage' ask
    about a release.
    """
    from radfed.federation.recipe import ALLOWED_CLASSES, export_job
    from radfed.job import as_campaign, find_job

    if job == FINGERPRINT:
        folder = export_job(job_for(task, sites, min_sites), out)
    elif job in QUESTIONS:
        folder = export_job(question_for(job, release, split, sites, min_sites), out)
    else:
        chosen = find_job(job).with_changes(
            rounds=rounds, local_steps=local_steps, link_rounds=link_rounds, seed=seed, sites=sites, min_sites=min_sites
        )
        folder = export_job(as_campaign(chosen, campaign), out)
    allowed = ", ".join(ALLOWED_CLASSES)
    log.print(f"exported to {folder}; sites must allow the classes {allowed}", markup=False, soft_wrap=True)
    emit({"job": str(folder), "classes": list(ALLOWED_CLASSES)}, as_json)


@app.command()
def simulate(
    job: AnyJob,
    dataset: Annotated[
        list[str], typer.Option(help="SITE=DIR: a site's name and its prepared dataset. Give one for each site.")
    ],
    out: Annotated[Path, typer.Option(help="Run folder: settings, ledger, models, logs.")],
    rounds: Rounds = None,
    local_steps: LocalSteps = None,
    seed: Seed = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Also train all data pooled, and each site alone, with the same total of steps."
        ),
    ] = False,
    trees: Annotated[
        bool,
        typer.Option("--trees", help="Also grow gradient-boosted trees by FLARE's XGBoost recipe; for tables."),
    ] = False,
    task: TaskOption = None,
    min_count: Annotated[
        int | None, typer.Option(min=3, help="For 'fingerprint': patients that must be behind every number.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(min=0, help="For 'fingerprint': noise on every count, in patients.")
    ] = None,
    release: ReleaseOption = None,
    split: SplitOption = "test",
    as_json: JsonFlag = False,
) -> None:
    """Run a federation on this machine, each site in a process of its own, on FLARE's simulator.

    The job 'fingerprint' describes the sites' data for a task instead of training it; 'validation' and 'leakage' ask
    about a release.
    """
    if job == FINGERPRINT:
        simulate_fingerprint(task, _datasets(dataset), out, min_count, noise, as_json)
        return
    if job in QUESTIONS:
        simulate_question(job, release, split, _datasets(dataset), out, as_json)
        return
    from radfed.cli.live import federation_view, say
    from radfed.federation.simulate import simulate as run_simulation
    from radfed.job import find_job

    chosen = find_job(job).with_changes(rounds=rounds, local_steps=local_steps, seed=seed)
    datasets = _datasets(dataset)
    if trees:
        from radfed.workflow.trees import check_trees

        check_trees(chosen.task)
    with federation_view(chosen.job.federation.rounds, plain=as_json) as view:
        final = run_simulation(chosen, datasets, out, lambda line: say(view, line, plain=as_json))
    log.print(f"{final.outcome}: best round {final.best_round}, model and ledger in {out}")
    comparison = _train_others(chosen, datasets, out, baselines, trees)
    emit({**final.model_dump(mode="json"), "run": str(out), "baselines": comparison}, as_json)


def _train_others(
    job: "Job", datasets: dict[str, Path], out: Path, baselines: bool, trees: bool
) -> dict[str, float | None]:
    """Train what the federated model is compared with, and say how each scores."""
    if not (baselines or trees):
        return {}
    from radfed.validation.kinds import headline_of, summarise_any
    from radfed.workflow.simulation import run_baselines
    from radfed.workflow.trees import TREES, run_trees

    evaluations = {}
    if baselines:
        log.print("training the baselines")
        evaluations = run_baselines(job, datasets, out, lambda done: log.print(f"  {done.model}"))
    if trees:
        log.print("growing federated trees")
        evaluations[TREES] = run_trees(job, datasets, out, evaluations)
    scores = {}
    for name, evaluation in evaluations.items():
        found = headline_of(summarise_any(evaluation))
        scores[name] = found.value
        log.print(f"  {name}: {found} on all sites' test cases")
    return scores


def _datasets(pairs: list[str]) -> dict[str, Path]:
    """Site names and folders from ``SITE=DIR``.

    Raises:
        InvalidInputError: a pair is malformed, a site is given twice, or a folder holds no dataset.
    """
    from radfed.errors import InvalidInputError

    datasets: dict[str, Path] = {}
    for pair in pairs:
        site, equals, folder = pair.partition("=")
        if not equals or not site or not folder:
            raise InvalidInputError(f"--dataset: expected SITE=DIR, got {pair!r}")
        if site in datasets:
            raise InvalidInputError(f"--dataset: site {site!r} is given twice")
        if not (Path(folder) / "dataset.json").is_file():
            raise InvalidInputError(f"--dataset {pair}: holds no dataset.json; make it with radfed ingest")
        datasets[site] = Path(folder)
    return datasets


app.command()(plan)
app.command()(submit)
app.command()(watch)
app.command()(fetch)
