"""``radfed job submit``, ``watch`` and ``fetch``: a training in a federation of real sites."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from radfed.cli.console import emit, log
from radfed.cli.job_fingerprint import FINGERPRINT, TaskOption, job_for, submit_fingerprint
from radfed.cli.job_options import AnyJob, Campaign, LinkRounds, LocalSteps, MinSites, Rounds, Seed, Sites
from radfed.cli.job_question import QUESTIONS, ReleaseOption, SplitOption, question_for, submit_question

if TYPE_CHECKING:
    from radfed.federation.campaign_events import CampaignEvent
    from radfed.ledger import FinalLine, Line

DRIVER_LOG = "driver.log"
_FAILED = 1

Kit = Annotated[Path, typer.Option("--startup-kit", help="Your own startup kit: the folder that holds startup/.")]
Target = Annotated[
    str, typer.Argument(metavar="RUN_OR_JOBID", help="The run folder of 'radfed job submit', or FLARE's id of a job.")
]


def submit(
    job: AnyJob,
    startup_kit: Kit,
    out: Annotated[
        Path,
        typer.Option(
            help="Run folder: settings, ledger, models, release. One that holds this campaign is gone on with."
        ),
    ],
    rounds: Rounds = None,
    local_steps: LocalSteps = None,
    link_rounds: LinkRounds = None,
    seed: Seed = None,
    sites: Sites = None,
    min_sites: MinSites = None,
    campaign: Campaign = None,
    start_with_quorum: Annotated[
        bool, typer.Option("--start-with-quorum", help="Do not wait for every required site; the quorum is enough.")
    ] = False,
    approval_timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds to wait for sites to approve the job. Default: no limit.")
    ] = None,
    give_up_after: Annotated[
        float, typer.Option(min=0, help="Seconds that the server, or enough sites, may be missing.")
    ] = 1800.0,
    track: Annotated[
        Literal["tensorboard", "mlflow"] | None, typer.Option(help="Also write the numbers there.")
    ] = None,
    track_to: Annotated[
        str | None,
        typer.Option(help="TensorBoard's folder, by default in the run folder; or the address of an MLflow server."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Drive the campaign in the background.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="End the campaign of the run folder instead.")] = False,
    task: TaskOption = None,
    release: ReleaseOption = None,
    split: SplitOption = "test",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train in a federation: drive a chain of FLARE jobs to its end, and fetch the release.

    Anything may be killed, this command too: the same command goes on where it was. The job 'fingerprint' describes
    the sites' data for a task instead of training it; 'validation' and 'leakage' ask about a release.
    """
    from radfed.errors import InvalidInputError
    from radfed.federation.campaign import run_campaign
    from radfed.federation.campaign_context import Orders
    from radfed.federation.console import Console
    from radfed.federation.recipe import export_job
    from radfed.job import as_campaign, find_job

    orders = Orders(start_with_quorum, approval_timeout, give_up_after)
    if (abort or detach) and (job == FINGERPRINT or job in QUESTIONS):
        raise InvalidInputError(f"the job {job!r} has no campaign; --abort and --detach are for trainings")
    if job == FINGERPRINT:
        submit_fingerprint(job_for(task, sites, min_sites), startup_kit, out, orders, as_json)
        return
    if job in QUESTIONS:
        submit_question(question_for(job, release, split, sites, min_sites), release, startup_kit, out, orders, as_json)
        return
    if abort:
        _abort(startup_kit, out, as_json)
        return
    chosen = find_job(job).with_changes(
        rounds=rounds, local_steps=local_steps, seed=seed, min_sites=min_sites, link_rounds=link_rounds, sites=sites
    )
    chosen = as_campaign(chosen, campaign) if campaign else chosen
    if detach:
        _detach(startup_kit, out, as_json)
        return
    try:
        with (
            Console(startup_kit) as console,
            _telling(chosen.job.federation.rounds, as_json) as tell,
            _tracking(track, track_to, out, tell) as on_event,
        ):
            final = run_campaign(chosen, console, out, on_event, export=export_job, orders=orders)
    except KeyboardInterrupt:
        _say_how_to_come_back(startup_kit, out)
        raise
    _conclude(final, out, as_json)


def watch(
    target: Target,
    startup_kit: Kit,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line as things happen, the last with the outcome.")
    ] = False,
) -> None:
    """Look at a campaign that runs: sites, rounds, metrics, seconds, bytes. Changes nothing; end it with Ctrl-C."""
    from radfed.federation.campaign_context import Clock, Context, Orders
    from radfed.federation.console import Console
    from radfed.federation.watching import watch as follow
    from radfed.job import Job

    known = Path(target) / "job.json"
    rounds = Job.read_json(known).job.federation.rounds if known.is_file() else None
    with Console(startup_kit) as console, _telling(rounds, as_json, every_line=as_json) as tell:
        final = follow(Context(console, Path(target), tell, Orders(), Clock()), console, target)
    if final is not None and not as_json:
        from radfed.cli.watch_view import outcome_words

        log.print(outcome_words(final), markup=False, soft_wrap=True)


def fetch(
    target: Target,
    startup_kit: Kit,
    out: Annotated[Path, typer.Option(help="Folder for the results: ledger, models, release.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Bring the results of a campaign that has ended: ledger, models and release, checked against the ledger."""
    from radfed.federation.console import Console
    from radfed.federation.watching import fetch as bring

    with Console(startup_kit) as console:
        final = bring(console, target, out)
    _conclude(final, out, as_json)


def _conclude(final: "FinalLine", out: Path, as_json: bool) -> None:
    """Say how the campaign ended.

    Raises:
        typer.Exit: with 1, if it failed.
    """
    from radfed.cli.watch_view import outcome_words
    from radfed.federation.campaign_state import read_state

    colour = {"COMPLETED": "green", "DEGRADED": "yellow", "FAILED": "red"}[final.outcome]
    log.print(outcome_words(final), style=f"bold {colour}", markup=False, soft_wrap=True)
    releases = sorted(str(path.parent) for path in out.glob("release/[!.]*/model.onnx"))
    for release in releases:
        log.print(f"release: {release}", markup=False, soft_wrap=True)
    state = read_state(out)
    links = [link.model_dump(mode="json") for link in state.links] if state else []
    name = {"campaign": state.campaign} if state else {}
    emit({**final.model_dump(mode="json"), **name, "run": str(out), "releases": releases, "links": links}, as_json)
    if final.outcome == "FAILED":
        raise typer.Exit(_FAILED)


def _abort(startup_kit: Path, out: Path, as_json: bool) -> None:
    from radfed.federation.campaign import abort_campaign
    from radfed.federation.console import Console

    with Console(startup_kit) as console:
        job_id = abort_campaign(console, out)
    log.print(f"campaign of {out} ended; FLARE job aborted: {job_id or 'none ran'}", markup=False, soft_wrap=True)
    emit({"run": str(out), "aborted": job_id}, as_json)


def _detach(startup_kit: Path, out: Path, as_json: bool) -> None:
    """Start the same command in a session of its own, which a closed terminal does not end."""
    from radfed.federation.admin_kit import read_admin_kit

    read_admin_kit(startup_kit)  # what is wrong with it is said here and not in a log
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "--json")]
    out.mkdir(parents=True, exist_ok=True)
    with (out / DRIVER_LOG).open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "radfed", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    log.print(
        f"driven by process {process.pid}, which writes {out / DRIVER_LOG}; look at it with radfed job watch {out}",
        markup=False,
        soft_wrap=True,
    )
    emit({"run": str(out), "process": process.pid, "log": str(out / DRIVER_LOG)}, as_json)


def _say_how_to_come_back(startup_kit: Path, out: Path) -> None:
    log.print(
        f"The FLARE job that runs goes on to its own end; nothing submits the next one now.\n"
        f"  look at it:     radfed job watch {out} --startup-kit {startup_kit}\n"
        f"  go on with it:  the same radfed job submit command again\n"
        f"  end it:         the same command with --abort",
        markup=False,
        soft_wrap=True,
    )


@contextmanager
def _telling(
    rounds: int | None, as_json: bool, every_line: bool = False
) -> Iterator[Callable[["CampaignEvent | Line"], None]]:
    """What shows events and ledger lines: a table, words, or with ``every_line`` an object of JSON for each."""
    from radfed.cli.watch_view import campaign_view
    from radfed.federation.campaign_events import CampaignEvent

    with campaign_view(rounds, plain=as_json) as teller:

        def tell(event: "CampaignEvent | Line") -> None:
            if every_line:
                typer.echo(json.dumps(event.model_dump(mode="json")))
            elif isinstance(event, CampaignEvent):
                teller.event(event)
            else:
                teller.line(event)

        yield tell


@contextmanager
def _tracking(
    track: Literal["tensorboard", "mlflow"] | None,
    to: str | None,
    out: Path,
    tell: Callable[["CampaignEvent | Line"], None],
) -> Iterator[Callable[["CampaignEvent | Line"], None]]:
    """``tell``, and a tracker beside it if one was asked for."""
    if track is None:
        yield tell
        return
    from radfed.federation.campaign_events import CampaignEvent
    from radfed.workflow.tracking import track as open_tracker

    with open_tracker(track, out, out.resolve().name, to) as take:

        def both(event: "CampaignEvent | Line") -> None:
            tell(event)
            if not isinstance(event, CampaignEvent):
                take(event)

        yield both
