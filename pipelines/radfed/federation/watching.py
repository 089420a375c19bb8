"""Following a campaign that something else drives: from its run folder, or from FLARE's id of any of its jobs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from radfed.errors import FederationError, InvalidInputError
from radfed.federation.campaign_context import Context, Flare
from radfed.federation.campaign_state import CampaignState, is_driven, read_state
from radfed.federation.collect import collect
from radfed.federation.sightings import JobStatus, Life
from radfed.federation.store import LEDGER
from radfed.ledger import FinalLine, Line, final_of, read_ledger

# Seconds in which the next link is submitted, once the one before has ended; approvals may take longer.
_BETWEEN_LINKS = 300.0


class FlareWithJobs(Flare, Protocol):
    """A console that lists jobs, too."""

    def jobs(self, campaign: str) -> list[JobStatus]:
        """The jobs of a campaign, in the order of their submission."""


def last_job(target: str) -> str:
    """FLARE's id of the job that a run folder's campaign had last; anything else is taken for such an id.

    Raises:
        InvalidInputError: the run folder holds no campaign, or one without a job so far.
    """
    if not Path(target).is_dir():
        return target
    ids = [link.job_id for link in _state(Path(target)).links if link.job_id is not None]
    if not ids:
        raise InvalidInputError(f"{target}: its campaign has no FLARE job yet")
    return ids[-1]


def fetch(flare: Flare, target: str, out: Path) -> FinalLine:
    """Bring the results of a campaign that has ended.

    Args:
        flare: the federation's server.
        target: a run folder, or FLARE's id of the campaign's last job.
        out: folder for the results.

    Raises:
        FederationError: the campaign has not ended, or the job left nothing.
        GateError: the model is not the one that the ledger names.
    """
    job_id = last_job(target)
    results = flare.download(job_id, out / f".{job_id}")
    if results is None:
        raise FederationError(f"job {job_id} left no results of radfed; give the campaign's last job")
    return collect(results, out)


def watch(context: Context, flare: FlareWithJobs, target: str) -> FinalLine | None:
    """Tell every ledger line of a campaign, from the first on, until it ends.

    Args:
        context: whom to tell, and how patient to be.
        flare: the federation's server.
        target: a run folder, or FLARE's id of one of the campaign's jobs.

    Returns:
        How it ended; None if it stopped without an end and nothing drives it on.

    Raises:
        InvalidInputError: there is no such campaign or job.
        UnreachableError: the server stayed away.
    """
    folder = Path(target) if Path(target).is_dir() else None
    seen = _Lines(context)
    quiet_since = context.clock.now()
    job_id = ""
    while True:
        state = _state(folder) if folder else None
        newest = _newest(state) if state else _newest_by_name(context, flare, job_id or target)
        if newest is not None and newest != job_id:
            job_id = newest
            context.campaign = state.campaign if state else _status(context, flare, job_id).name
            context.link = len(state.links) if state else None
            context.say("submitted", job_id=job_id)
        if folder is not None:
            seen.take(read_ledger(folder / LEDGER))
        if job_id and final_of(seen.lines) is None and seen.follow(flare, job_id):
            quiet_since = context.clock.now()
        final = final_of(seen.lines)
        if final is not None:
            return final
        if state is not None and state.outcome is not None:
            context.say("stopped", reason=state.outcome.lower(), detail="its driver gave up; the server may know more")
            return None
        if folder is not None and not is_driven(folder):
            if not job_id or _status(context, flare, job_id).ended:
                context.say(
                    "stopped", reason="not_driven", detail="nothing submits its next job; run radfed job submit"
                )
                return None
        elif folder is None and context.clock.now() - quiet_since > _BETWEEN_LINKS:
            status = _status(context, flare, job_id)
            if status.ended:
                context.say("stopped", reason="no_next_job", detail=f"FLARE says {status.status}")
                return None
        context.clock.sleep(context.orders.look)


class _Lines:
    """The lines told so far."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.lines: list[Line] = []

    def take(self, lines: Sequence[Line]) -> bool:
        """Tell those that are new."""
        new = lines[len(self.lines) :]
        for line in new:
            self.lines.append(line)
            self._context.on_event(line)
        return bool(new)

    def follow(self, flare: Flare, job_id: str) -> bool:
        """Ask a job for more; whether it answered."""
        page = self._context.patiently(lambda: flare.ledger(job_id, len(self.lines)))
        self.take([*self.lines, *page.lines])
        return page.life is Life.ANSWERED


def _state(run: Path) -> CampaignState:
    state = read_state(run)
    if state is None:
        raise InvalidInputError(
            f"{run}: holds no campaign.json; give the run folder of radfed job submit, or a job's id"
        )
    return state


def _newest(state: CampaignState) -> str | None:
    return next((link.job_id for link in reversed(state.links) if link.job_id is not None), None)


def _newest_by_name(context: Context, flare: FlareWithJobs, job_id: str) -> str:
    """The campaign's last job, once the one known has ended."""
    status = _status(context, flare, job_id)
    if not status.ended:
        return job_id
    others = context.patiently(lambda: flare.jobs(status.name))
    return others[-1].job_id if others else job_id


def _status(context: Context, flare: Flare, job_id: str) -> JobStatus:
    return context.patiently(lambda: flare.status(job_id))
