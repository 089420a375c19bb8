"""How a campaign begins: its sites are fixed and its FLARE job is written, once for all links."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from radfed.errors import InvalidInputError
from radfed.federation.campaign_context import Context
from radfed.federation.campaign_state import FLARE_FOLDER, CampaignState, read_state
from radfed.federation.sightings import TooFewSitesError
from radfed.federation.store import JOB, LEDGER, TASK
from radfed.job import Job, as_campaign

# Seconds without another site coming, after which those that are there are all.
_NEWCOMERS = 10.0

Export = Callable[[Job, Path], Path]


def begin(context: Context, job: Job, export: Export) -> tuple[Job, CampaignState]:
    """The campaign that the run folder holds, or a new one.

    A job that names no sites gets those that are connected, so that server, sites and driver mean the same ones.

    Raises:
        InvalidInputError: the run folder holds another training.
        TooFewSitesError: there is no quorum.
    """
    state = read_state(context.run)
    if state is not None:
        return _same_job(context.run, job), state
    if (context.run / LEDGER).exists():
        raise InvalidInputError(f"{context.run}: holds another run's ledger; give another folder")
    context.campaign = job.campaign or job.job.name
    sites = job.job.federation.sites or _all_present(context, job)
    job = as_campaign(job.with_changes(sites=sites), job.campaign)
    job.write_json(context.run / JOB)
    (context.run / TASK).write_text(job.task.to_yaml(), encoding="utf-8")
    shutil.rmtree(context.run / FLARE_FOLDER, ignore_errors=True)
    export(job, context.run / FLARE_FOLDER)
    state = CampaignState.new(job.campaign or job.job.name).write(context.run)
    context.campaign = state.campaign
    context.say("begun", sites=tuple(sites))
    return job, state


def exported_job(run: Path) -> Path:
    """The FLARE job that ``begin`` wrote."""
    return next(path.parent for path in sorted((run / FLARE_FOLDER).glob("*/meta.json")))


def enough_sites(context: Context, job: Job, required: Sequence[str]) -> tuple[str, ...]:
    """Wait until the required sites are connected; after a while, a quorum of them is enough.

    Args:
        context: the driver's.
        job: names the quorum.
        required: the sites; empty for any.

    Returns:
        Those of the required sites that are connected.

    Raises:
        TooFewSitesError: there is no quorum for as long as the driver may wait.
    """
    quorum, orders = job.job.federation.min_sites, context.orders
    began = context.clock.now()
    while True:
        connected = context.patiently(context.flare.sites)
        there = tuple(sorted(set(connected) & set(required))) if required else connected
        missing = tuple(sorted(set(required) - set(there)))
        waited = context.clock.now() - began
        may_come = waited < orders.settle and not orders.start_with_quorum
        if len(there) >= quorum and not (missing and may_come):
            if missing:
                context.say_once("without_sites", missing, detail="not connected")
            return there
        if waited >= orders.give_up_after:
            raise TooFewSitesError(
                f"{len(there)} site(s) connected after {waited:.0f} s, {quorum} needed: {', '.join(there) or 'none'}"
            )
        wanted = ", ".join(required) or "any"
        context.say_once("waiting_for_sites", there, detail=f"{quorum} needed, wanted: {wanted}")
        context.clock.sleep(orders.look)


def _all_present(context: Context, job: Job) -> tuple[str, ...]:
    """A quorum of sites, and who else comes within seconds of the last one."""
    sites = enough_sites(context, job, ())
    since = context.clock.now()
    while context.clock.now() - since < _NEWCOMERS:
        context.clock.sleep(context.orders.look)
        more = context.patiently(context.flare.sites)
        if set(more) - set(sites):
            sites, since = tuple(sorted({*sites, *more})), context.clock.now()
    return sites


def _same_job(run: Path, job: Job) -> Job:
    """The run's own job, if the one asked for is the same but for its campaign's name and its sites.

    Raises:
        InvalidInputError: it is another one.
    """
    mine = Job.read_json(run / JOB)
    asked = job.model_copy(update={"campaign": job.campaign or mine.campaign})
    if not job.job.federation.sites:
        asked = asked.with_changes(sites=mine.job.federation.sites)
    if asked != mine:
        raise InvalidInputError(
            f"{run}: holds campaign {mine.campaign}, begun with other settings; give those again, or another folder"
        )
    return mine
