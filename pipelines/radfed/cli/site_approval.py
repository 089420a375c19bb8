"""``radfed site approve`` and ``radfed site egress``: what may run here, and what has left."""

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from radfed.cli.console import emit, log

if TYPE_CHECKING:
    from radfed.job import Job
    from radfed.site.approval import Approvals
    from radfed.site.approval_facts import JobFacts
    from radfed.site.config import SiteSettings
    from radfed.site.egress import Sent

SiteFolder = Annotated[Path, typer.Argument(metavar="SITE", help="The site's own folder, made by radfed site init.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

# Loading torch can take long on a site's machine that is busy.
_MEASURE_TIMEOUT = 180.0
_REFUSED = 3


def approve(
    site: SiteFolder,
    digest: Annotated[str | None, typer.Argument(metavar="[DIGEST]", help="A job's digest, or how it begins.")] = None,
    job: Annotated[Path | None, typer.Option(help="An exported job's folder, to approve before it arrives.")] = None,
    by: Annotated[str, typer.Option(help="Who approves; default is the login name.")] = "",
    note: Annotated[str, typer.Option(help="Kept with the decision.")] = "",
    withdraw: Annotated[str | None, typer.Option(help="Digest of a grant to take back.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without asking, for scripts.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Review a job and approve it, so that it may run here. Without a digest, list what waits and what was granted."""
    from radfed.errors import InvalidInputError
    from radfed.site.approval import Approvals, demand_privacy
    from radfed.site.config import read_site

    settings, folder = read_site(site), site if site.is_dir() else site.parent
    approvals = Approvals(folder)
    if sum(given is not None for given in (digest, job, withdraw)) > 1:
        raise InvalidInputError("give one of DIGEST, --job and --withdraw, got several")
    who = by or getpass.getuser()
    if withdraw is not None:
        taken = approvals.withdraw(approvals.find(withdraw), who, note)
        log.print(f"withdrawn: {taken.grant.facts.job}; a run that has begun goes on to its end", markup=False)
        emit(taken.model_dump(mode="json"), as_json)
    elif digest is None and job is None:
        _list(approvals, as_json)
    else:
        facts = _facts_of_folder(job, settings) if job else _facts_of_digest(approvals, digest or "", settings)
        demand_privacy(settings.approval, facts.settings)
        _decide(approvals, facts, who, note, yes=yes, as_json=as_json)


def on_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def _decide(approvals: "Approvals", facts: "JobFacts", who: str, note: str, *, yes: bool, as_json: bool) -> None:
    from radfed.site.approval_text import sentences

    table = Table.grid(padding=(0, 2))
    for question, answer in sentences(facts):
        table.add_row(Text(question, style="bold"), Text(answer))
    log.print(Panel(table, title="A job that wants to run here", title_align="left"))
    if not yes and not (on_terminal() and typer.confirm("Approve?", default=False, err=True)):
        log.print("not approved; to approve, answer y on a terminal, or give --yes", markup=False)
        emit({"approved": False, "facts": facts.model_dump(mode="json")}, as_json)
        return
    grant = approvals.grant(facts, who, note)
    log.print(f"approved by {who}: {facts.job} may run here whenever it is submitted", markup=False)
    emit({"approved": True, **grant.model_dump(mode="json")}, as_json)


def _list(approvals: "Approvals", as_json: bool) -> None:
    pending, granted, unreadable = approvals.pending(), approvals.granted(), approvals.unreadable()
    table = Table("", Column("digest", no_wrap=True, min_width=16), "job", "rounds", "leaves in all", "since", "who")
    for facts in pending:
        table.add_row(*_row("waits", facts, facts.seen, facts.submitter or ""))
    for grant in granted:
        table.add_row(*_row("granted", grant.facts, grant.time, grant.by))
    log.print(table)
    for facts in pending:
        for change in facts.changed:
            log.print(Text(f"{facts.digest[:16]}: was approved before, but changed since: {change}"))
    for name in unreadable:
        log.print(Text(f"{name[:16]}: cannot be read and counts for nothing; another version of radfed wrote it"))
    emit(
        {
            "pending": [facts.model_dump(mode="json") for facts in pending],
            "granted": [grant.model_dump(mode="json") for grant in granted],
            "unreadable": unreadable,
        },
        as_json,
    )


def _row(state: str, facts: "JobFacts", since: str, who: str) -> list[Text]:
    from rich.filesize import decimal

    from radfed.site.approval_text import plain

    size = "unknown" if facts.bytes_in_all is None else decimal(facts.bytes_in_all)
    cells = (state, facts.digest[:16], facts.campaign or facts.job, str(facts.rounds), size, since, plain(who))
    return [Text(cell) for cell in cells]


def _facts_of_folder(folder: Path, settings: "SiteSettings") -> "JobFacts":
    """The facts of a job that was exported and has not arrived yet."""
    from radfed.federation.app_files import checked_job
    from radfed.site.approval import job_digest, read_app

    files = read_app(folder)
    return _fresh(checked_job(files), job_digest(files), settings, None)


def _facts_of_digest(approvals: "Approvals", prefix: str, settings: "SiteSettings") -> "JobFacts":
    """The facts of a job that waits, as they are now: the data may have changed since it arrived."""
    from radfed.errors import InvalidInputError

    digest = approvals.find(prefix)
    grant = approvals.grant_of(digest)
    known = approvals.pending_of(digest) or (grant.facts if grant else None)
    if known is None:
        raise InvalidInputError(f"{digest[:16]}: another version of radfed wrote its record; submit the job again")
    facts = _fresh(known.settings, digest, settings, known)
    return facts if grant is None else facts.model_copy(update={"changed": facts.changed_since(grant.facts)})


def _fresh(job: "Job", digest: str, settings: "SiteSettings", known: "JobFacts | None") -> "JobFacts":
    from radfed.federation.app_files import leaving
    from radfed.site.approval import timestamp
    from radfed.site.approval_facts import gather, measure

    submitter = known.submitter if known else None
    facts = gather(
        job,
        digest,
        dataset=settings.dataset,
        kit=settings.kit,
        metrics=leaving(job.task),
        seen=timestamp(),
        submitter=submitter,
    )
    if facts.bytes_in_all is not None:
        # A fingerprint has no network to be counted.
        return facts
    if known is not None and known.parameters is not None and known.bytes_a_round is not None:
        return facts.with_size(known.parameters, known.bytes_a_round)
    log.print("counting the network's weights", markup=False)
    counted = measure(job, _MEASURE_TIMEOUT)
    return facts if counted is None else facts.with_size(*counted)


def egress(
    site: SiteFolder,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the log; exit 3 if a line is not as written.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what has left this site: each update, each report and each error reply, with its size and digest."""
    from radfed.site.egress import Sent
    from radfed.site.egress import verify as verify_log

    verdict = verify_log(site if site.is_dir() else site.parent)
    sent = [line for line in verdict.lines if isinstance(line, Sent)]
    _show_sent(sent)
    for problem in verdict.problems:
        log.print(f"[red]problem:[/red] {escape(problem)}")
    for note in verdict.notes:
        log.print(f"note: {note}", markup=False)
    if verify and not verdict.problems:
        log.print(f"the log is whole: {len(verdict.lines)} lines, each as it was written", markup=False)
    emit(
        {
            "messages": [line.model_dump(mode="json") for line in sent],
            "count": len(sent),
            "bytes": sum(line.bytes for line in sent),
            "ok": not verdict.problems,
            "problems": list(verdict.problems),
            "notes": list(verdict.notes),
        },
        as_json,
    )
    if verify and verdict.problems:
        raise typer.Exit(_REFUSED)


def _show_sent(sent: "list[Sent]") -> None:
    from rich.filesize import decimal

    table = Table("time", "campaign", "round", "task", "status", "size", Column("digest", min_width=12), "filters")
    for line in sent:
        cells = (
            line.time[:19],
            line.campaign or line.job[:8],
            "" if line.round is None else str(line.round),
            line.task,
            line.status,
            decimal(line.bytes),
            (line.digest or "")[:12],
            ", ".join(line.filters),
        )
        table.add_row(*(Text(cell) for cell in cells))
    log.print(table)
    log.print(f"{len(sent)} messages, {decimal(sum(line.bytes for line in sent))} in all", markup=False)
