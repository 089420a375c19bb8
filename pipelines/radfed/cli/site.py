"""``radfed site``: set up a site, check it before it joins, review what runs there and what leaves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radfed.cli.console import emit, log
from radfed.cli.site_approval import approve, egress

if TYPE_CHECKING:
    from radfed.site.doctor.findings import Report

app = typer.Typer(help="Set up a site, check it, review what runs there and what leaves.", no_args_is_help=True)

# A policy said no: the command contract's exit code for a gate.
_REFUSED = 3

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The site's own folder, outside any dataset.")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the site in the federation, for example site-a; a kit knows its own."),
    ] = None,
    kit: Annotated[
        Path | None, typer.Option("--kit", help="The site's startup kit, to be linked; also for a site that is there.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a site: site.yaml, to be edited, and secret.key, which keys the pseudonyms and never leaves the site.

    Back the folder up: without the secret, a second ingest gives patients other pseudonyms.
    """
    from radfed.errors import InvalidInputError
    from radfed.site.config import SECRET_FILE, SITE_FILE, init_site
    from radfed.site.kit import read_identity, write_kit_link

    known = read_identity(kit).site if kit else None
    if name is None and known is None:
        raise InvalidInputError("give --name NAME, or --kit KIT, which knows the site's name")
    if name is not None and known is not None and name != known:
        raise InvalidInputError(f"--name is {name!r}, but the kit is that of {known!r}; leave --name out")
    site = known or name or ""
    is_there = kit is not None and (folder / SITE_FILE).is_file()
    if not is_there:
        init_site(folder, site)
        log.print(f"{folder}: wrote {SITE_FILE} and {SECRET_FILE} for {site}", markup=False, soft_wrap=True)
    if kit is not None:
        write_kit_link(kit, folder)
        log.print(f"{folder}: linked with the startup kit of {site}", markup=False, soft_wrap=True)
    emit({"site": site, "site_yaml": str(folder / SITE_FILE), "kit": str(kit) if kit else None}, as_json)


@app.command()
def doctor(
    site: Annotated[Path, typer.Argument(metavar="SITE", help="The site's folder.")],
    kit: Annotated[Path | None, typer.Option("--kit", help="Instead of the startup kit in site.yaml.")] = None,
    job: Annotated[
        str | None, typer.Option("--job", help="A job's folder or name: predict its rounds here, derive timeouts.")
    ] = None,
    find_batch: Annotated[
        bool, typer.Option("--find-batch", help="With --job: also look for the largest batch that the memory holds.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the derived timeouts into the kit; restart FLARE's client after it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check everything a site needs before it joins: each finding is pass, warn or fail, with its fix.

    Exits 3 when something fails. Nothing about patients or cases is sent; the server sees a health check and bytes
    of noise that measure the link.
    """
    from radfed.cli.doctor_view import show
    from radfed.errors import InvalidInputError
    from radfed.job import find_job
    from radfed.site.doctor.run import examine

    if write and job is None:
        raise InvalidInputError("--write needs --job JOB: timeouts follow from a job's model and its rounds")
    if find_batch and job is None:
        raise InvalidInputError("--find-batch needs --job JOB: how much a case takes depends on the job's network")
    with _steps() as on_step:
        report = examine(site, kit, find_job(job) if job else None, on_step, find_batch)
    show(report)
    written = _write(site, kit, report) if write else []
    emit({**report.as_object(), "written": written}, as_json)
    if not report.ok:
        raise typer.Exit(_REFUSED)


def _write(site: Path, kit: Path | None, report: "Report") -> list[str]:
    """Write the derived timeouts and say where; the files that changed, relative to the kit."""
    from radfed.site.config import read_site
    from radfed.site.timeout_files import overruled, write_timeouts

    home = kit or read_site(site).kit
    if report.timeouts is None or home is None:
        log.print("no timeouts were derived, so none are written: see what failed above", style="yellow")
        return []
    changed = [str(path.relative_to(home)) for path in write_timeouts(home, report.timeouts)]
    log.print(f"timeouts: wrote {', '.join(changed)}" if changed else "timeouts: all stand there already", markup=False)
    for name, seconds in overruled(home, report.timeouts).items():
        log.print(f"local/resources.json sets {name} to {seconds} s, and FLARE takes that; take it out", style="yellow")
    return changed


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """Say on a terminal what is being measured."""
    with log.status("looking") as status:
        yield lambda what: status.update(f"checking: {what}")


app.command()(approve)
app.command()(egress)
