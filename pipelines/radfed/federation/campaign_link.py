"""One link of a campaign, watched until it is over."""

from collections.abc import Sequence

from radfed.federation.campaign_context import Context
from radfed.federation.campaign_rules import Abort, Close, Seen, Wait, decide
from radfed.federation.live_ledger import LiveLedger
from radfed.federation.sightings import JobStatus, LedgerPage, Life, Refusal
from radfed.ledger import Line, LinkLine, RoundLine, final_of, rounds_of


def rounds_in(ledger: LiveLedger) -> int:
    """How many rounds have an aggregate."""
    return len(rounds_of(ledger.lines))


def rounds_by_job(lines: Sequence[Line]) -> dict[str, int]:
    """How many rounds each FLARE job brought, by its id."""
    rounds: dict[str, int] = {}
    job_id = ""
    for line in lines:
        if isinstance(line, LinkLine):
            job_id = line.job_id
        elif isinstance(line, RoundLine):
            rounds[job_id] = rounds.get(job_id, 0) + 1
    return rounds


def is_strict(context: Context, ledger: LiveLedger) -> bool:
    """Whether every connected required site must take part: until there is a round, unless a quorum is enough."""
    return not context.orders.start_with_quorum and rounds_in(ledger) == 0


def follow(context: Context, ledger: LiveLedger, job_id: str) -> tuple[Close, JobStatus]:
    """Watch a link until it is over, and abort it where it must be.

    Returns:
        How it ended, and FLARE's last word on it.
    """
    sign, word = context.clock.now(), ""
    aborted: str | None = None
    aborted_at = 0.0
    while True:
        status, page = _look(context, ledger, job_id)
        now = context.clock.now()
        if page.life is Life.ANSWERED or status.status != word:
            sign, word = now, status.status
        seen = Seen(
            status=status,
            life=page.life,
            quiet=now - sign,
            concluded=final_of(ledger.lines) is not None,
            strict=is_strict(context, ledger),
            aborted=aborted,
            since_abort=now - aborted_at,
        )
        match decide(seen, context.orders.limits):
            case Close() as close:
                return close, status
            case Abort(reason):
                context.say("aborting", job_id=job_id, reason=reason)
                aborted, aborted_at = reason, now
                if not context.patiently(lambda: context.flare.abort(job_id)):
                    # Its server was killed: FLARE knows of no process, and will call it running for ever.
                    return Close("lost", f"{reason}_left_running"), status
            case Wait():
                tell_refusals(context, status.refusals)
        context.clock.sleep(context.orders.look)


def _look(context: Context, ledger: LiveLedger, job_id: str) -> tuple[JobStatus, LedgerPage]:
    """FLARE's word on the link, and its ledger."""
    status = context.patiently(lambda: context.flare.status(job_id))
    if status.status == "FINISHED:FAILED_TO_RUN" and not status.deployed:
        # FLARE notes the sites' answers only after it has set the status.
        context.clock.sleep(context.orders.look)
        status = context.patiently(lambda: context.flare.status(job_id))
    if status.ended or status.waits:
        return status, LedgerPage(Life.GONE)
    page = context.patiently(lambda: context.flare.ledger(job_id, len(ledger.lines)))
    if page.life is Life.ANSWERED and not ledger.add(page):
        # The server holds fewer lines than were seen; its store is the truth.
        page = context.patiently(lambda: context.flare.ledger(job_id, 0))
        if page.life is Life.ANSWERED:
            ledger.restart(page)
    return status, page


def tell_refusals(context: Context, refusals: Sequence[Refusal]) -> None:
    """Say which sites wait for a person of theirs."""
    for code in sorted({refusal.code for refusal in refusals if refusal.can_pass}):
        group = [refusal for refusal in refusals if refusal.code == code]
        sites = tuple(refusal.site for refusal in group)
        context.say_once("waiting_for_approval", sites, reason=code, detail=group[0].detail)
