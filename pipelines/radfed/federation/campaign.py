"""The driver of a campaign: a training as a chain of FLARE jobs, of which any may be killed.

FLARE has no resume. The server keeps the campaign, each job of the chain goes on from its last round, and this driver
submits the next one until the ledger has its final line. The driver itself may be killed, too: ``campaign.json`` in the
run folder says where it was.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.federation.campaign_context import Clock, Context, Flare, Orders
from radfed.federation.campaign_events import OnEvent
from radfed.federation.campaign_link import follow, is_strict, rounds_by_job, rounds_in, tell_refusals
from radfed.federation.campaign_rules import Close, final_refusals, mandatory_sites, pause_before
from radfed.federation.campaign_start import Export, begin, enough_sites, exported_job
from radfed.federation.campaign_state import CampaignState, Link, only_driver, read_state
from radfed.federation.collect import collect, has_all
from radfed.federation.live_ledger import LiveLedger
from radfed.federation.sightings import JobStatus, LedgerPage, Life, Refusal, UnreachableError
from radfed.federation.store import LEDGER
from radfed.job import Job
from radfed.ledger import FinalLine, conclude, final_of, read_ledger, required_of

_FETCHED = ".fetched"


def run_campaign(
    job: Job,
    flare: Flare,
    run: Path,
    on_event: OnEvent,
    *,
    export: Export,
    orders: Orders | None = None,
    clock: Clock | None = None,
) -> FinalLine:
    """Drive a campaign to its end; go on with the one that the run folder holds, if it holds one.

    Args:
        job: what to run. Its ``campaign`` may be None, which gives it a new name.
        flare: the federation's server.
        run: folder for the results and for the driver's memory.
        on_event: told every ledger line, and what happens to the chain.
        export: writes a FLARE job below a folder.
        orders: how patient to be.
        clock: the time.

    Returns:
        How the campaign ended. FAILED also when the server or enough sites stayed away for too long; what the server
        holds is then left as it is, and another call goes on.

    Raises:
        InvalidInputError: the run folder holds another training, or another process drives it.
        GateError: a site refused the job for good, or approval did not come in time.
    """
    run.mkdir(parents=True, exist_ok=True)
    with only_driver(run):
        context = Context(flare, run, on_event, orders or Orders(), clock or Clock())
        ledger = LiveLedger(run / LEDGER, on_event)
        try:
            job, state = begin(context, job, export)
            return _Chain(context, job, state, ledger).run()
        except UnreachableError as error:
            # The state stays as it is: the campaign may well run on, and the same command goes on with it.
            context.say("stopped", reason=error.reason, detail=f"{error}; the same command goes on")
            return _as_failed(ledger, job.job.federation.rounds)


def abort_campaign(flare: Flare, run: Path) -> str | None:
    """End a campaign: abort the FLARE job that runs, and submit no other.

    Returns:
        FLARE's id of the job that was aborted; None if none ran.

    Raises:
        InvalidInputError: the run folder holds no campaign, or another process drives it.
        FederationError: FLARE did not take the abort.
    """
    state = read_state(run)
    if state is None:
        raise InvalidInputError(f"{run}: holds no campaign.json; give the run folder of radfed job submit")
    with only_driver(run):
        if state.outcome is not None:
            return None
        job_id = state.running.job_id if state.running else None
        if job_id is not None and not flare.status(job_id).ended and not flare.abort(job_id):
            raise FederationError(f"FLARE did not abort job {job_id}: it knows of no process for it")
        if state.running is not None:
            state = state.update(ended=time.time(), end="lost", reason="aborted_by_user")
        state.model_copy(update={"outcome": "FAILED"}).write(run)
    return job_id


class _Chain:
    """Submits links, has each watched, and draws the conclusions."""

    def __init__(self, context: Context, job: Job, state: CampaignState, ledger: LiveLedger) -> None:
        self._context, self._job, self._state, self._ledger = context, job, state, ledger
        self._federation = job.job.federation
        self._denied = 0
        self._denied_since: float | None = None
        context.campaign, context.link = state.campaign, len(state.links) or None

    def run(self) -> FinalLine:
        """All links, one after the other."""
        if self._state.outcome is not None:
            return final_of(self._ledger.lines) or _as_failed(self._ledger, self._federation.rounds)
        while True:
            lost = self._state.lost_in_a_row
            if self._state.running is None and lost > self._federation.max_links:
                self._remember(self._state.model_copy(update={"outcome": "FAILED"}))
                self._context.say("stopped", reason="too_many_lost_links", detail=f"{lost} without a new round")
                return _as_failed(self._ledger, self._federation.rounds)
            link = self._submit()
            close, status = follow(self._context, self._ledger, str(link.job_id))
            final = self._settle(link, close, status)
            if final is not None:
                return final

    def _submit(self) -> Link:
        """The link that runs, or a new one, after a pause if those before came to nothing."""
        link = self._state.running
        if link is None:
            self._context.clock.sleep(pause_before(max(self._state.lost_in_a_row, self._denied)))
            there = enough_sites(self._context, self._job, self._federation.sites)
            link = self._remember(self._state.begin(self._context.clock.wall())).links[-1]
        elif link.job_id is not None:
            return link
        else:
            # The driver was killed between a submission and its note; the token makes it the same job again.
            there = self._context.patiently(self._context.flare.sites)
        self._context.link = link.number
        mandatory = mandatory_sites(self._federation.sites, there, is_strict(self._context, self._ledger))
        folder, token, name = exported_job(self._context.run), self._state.token(link), self._state.campaign
        submit = self._context.flare.submit
        job_id = self._context.patiently(lambda: submit(folder, token, name=name, mandatory=mandatory))
        self._context.say("submitted", job_id=job_id)
        return self._remember(self._state.update(job_id=job_id)).links[-1]

    def _settle(self, link: Link, close: Close, status: JobStatus) -> FinalLine | None:
        """Write how a link ended; the campaign's end if it was the last."""
        final: FinalLine | None = None
        if close.end == "done" or (status.ended and self._may_be_last(link)):
            close, final = self._fetch(str(link.job_id), close)
        state = self._state.update(
            ended=self._context.clock.wall(),
            status=status.status,
            end=close.end,
            reason=close.reason,
        ).count_rounds(rounds_by_job(self._ledger.lines))
        self._remember(state.model_copy(update={"outcome": final.outcome}) if final else state)
        troubles = "; ".join(f"{r.site}: {r.code} {r.detail or ''}".strip() for r in status.refusals)
        self._context.say("link_ended", job_id=link.job_id, reason=close.reason, detail=troubles or None)
        if final is not None:
            self._context.say("fetched", detail=str(self._context.run))
        else:
            self._mind_refusals(close, status.refusals)
        return final

    def _may_be_last(self, link: Link) -> bool:
        """Whether the campaign may have ended with a link although no final line was seen of it."""
        part = self._federation.link_rounds
        did_its_part = part > 0 and rounds_by_job(self._ledger.lines).get(str(link.job_id), 0) >= part
        return not did_its_part or rounds_in(self._ledger) >= self._federation.rounds

    def _fetch(self, job_id: str, close: Close) -> tuple[Close, FinalLine | None]:
        """Bring the results, if the job left any and they are whole."""
        place = self._context.run / _FETCHED / job_id
        try:
            results = self._context.patiently(lambda: self._context.flare.download(job_id, place))
            if results is None:
                return (Close("lost", "no_results") if close.end == "done" else close), None
            lines = read_ledger(results / LEDGER)
            self._ledger.add(LedgerPage(Life.ANSWERED, tuple(lines[len(self._ledger.lines) :]), len(lines)))
            if final_of(lines) is None:
                return close, None
            if not has_all(results) and self._state.lost_in_a_row < self._federation.max_links:
                # Killed while it built the release; the next link does only that.
                return Close("lost", "no_release"), None
            return Close("done", "concluded"), collect(results, self._context.run)
        finally:
            shutil.rmtree(place.parent, ignore_errors=True)

    def _mind_refusals(self, close: Close, refusals: Sequence[Refusal]) -> None:
        """Stop where no approval can help, or none comes in time.

        Raises:
            GateError: so it is.
        """
        if close.end == "refused":
            reasons = "; ".join(f"{r.site}: {r.code}: {r.detail or 'no detail'}" for r in final_refusals(refusals))
            self._context.say("stopped", reason="refused", detail=reasons)
            raise GateError(f"refused, and no approval can mend it: {reasons}")
        self._denied = self._denied + 1 if close.end in ("awaiting_approval", "not_scheduled") else 0
        if close.end != "awaiting_approval":
            self._denied_since = None
            return
        now, timeout = self._context.clock.now(), self._context.orders.approval_timeout
        self._denied_since = now if self._denied_since is None else self._denied_since
        tell_refusals(self._context, refusals)
        if timeout is not None and now - self._denied_since >= timeout:
            sites = ", ".join(refusal.site for refusal in refusals)
            raise GateError(f"no approval at {sites} within {timeout:.0f} s; the same command waits again")

    def _remember(self, state: CampaignState) -> CampaignState:
        self._state = state.write(self._context.run)
        return self._state


def _as_failed(ledger: LiveLedger, rounds: int) -> FinalLine:
    """What the lines seen amount to; a campaign that did not end has failed."""
    return conclude(ledger.lines, required_of(ledger.lines), rounds).model_copy(update={"outcome": "FAILED"})
