"""What is to be done about a link of a campaign, from what is seen of it. Nothing is done here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from radfed.federation.campaign_state import LinkEnd
from radfed.federation.sightings import JobStatus, Life, Refusal


@dataclass(frozen=True)
class Limits:
    """How long what is waited for. All in seconds.

    Attributes:
        patience: a job that FLARE calls running may be silent for so long; its process may be starting or stopping.
        gone: FLARE may know of no process for a job that it calls running for so long; it packs the results then.
        schedule: FLARE may leave a job unstarted for so long. Its own pauses between two tries double up to 10 min.
        abort: what FLARE may take to end a job that it was told to abort.
    """

    patience: float = 120.0
    gone: float = 20.0
    schedule: float = 60.0
    abort: float = 60.0


@dataclass(frozen=True)
class Seen:
    """What is seen of a link at one moment.

    Attributes:
        status: what FLARE says.
        life: whether the job's process answers.
        quiet: seconds since its last sign of life, or since FLARE's status last changed.
        concluded: whether the ledger has its final line.
        strict: whether every connected required site must take the job; so until the first round is done, unless the
            quorum is enough.
        aborted: why it was aborted, if it was; and ``since_abort``, how many seconds ago.
    """

    status: JobStatus
    life: Life
    quiet: float
    concluded: bool = False
    strict: bool = False
    aborted: str | None = None
    since_abort: float = 0.0


@dataclass(frozen=True)
class Wait:
    """Nothing to do yet."""


@dataclass(frozen=True)
class Abort:
    """FLARE is to end the link."""

    reason: str


@dataclass(frozen=True)
class Close:
    """The link is over."""

    end: LinkEnd
    reason: str


Step = Wait | Abort | Close


def decide(seen: Seen, limits: Limits) -> Step:
    """The next step with a link."""
    if seen.status.ended:
        return _closed(seen)
    if seen.aborted is not None:
        # FLARE took the abort and did nothing; the chain goes on without it.
        return Close("lost", f"{seen.aborted}_abandoned") if seen.since_abort > limits.abort else Wait()
    reason = _reason_to_abort(seen, limits)
    return Abort(reason) if reason else Wait()


def _reason_to_abort(seen: Seen, limits: Limits) -> str | None:
    refusals = seen.status.refusals
    if seen.strict and any(_is_final(refusal) for refusal in refusals):
        return "refused"
    if seen.strict and any(refusal.can_pass for refusal in refusals):
        return "awaiting_approval"
    if seen.status.waits:
        return "not_scheduled" if seen.quiet > limits.schedule else None
    if seen.life is Life.GONE and seen.quiet > limits.gone:
        return "no_process"
    if seen.life is Life.SILENT and seen.quiet > limits.patience:
        return "silent"
    return None


def _closed(seen: Seen) -> Close:
    """How a link ended that FLARE says is over."""
    status, refusals = seen.status, seen.status.refusals
    if seen.concluded:
        return Close("done", "concluded")
    never_ran = status.status == "FINISHED:FAILED_TO_RUN" or seen.aborted in ("refused", "awaiting_approval")
    if never_ran and any(_is_final(refusal) for refusal in refusals):
        return Close("refused", "refused")
    if never_ran and any(refusal.can_pass for refusal in refusals):
        return Close("awaiting_approval", "not_approved")
    if status.status == "FINISHED:CAN_NOT_SCHEDULE" or seen.aborted == "not_scheduled":
        return Close("not_scheduled", "not_scheduled")
    if seen.aborted is not None:
        return Close("lost", seen.aborted)
    if status.status == "FINISHED:COMPLETED":
        return Close("ended", "completed")
    return Close("lost", status.status.partition(":")[2].lower() or "ended")


def _is_final(refusal: Refusal) -> bool:
    """Whether the site will never take this job: it said so in radfed's own words."""
    return not refusal.can_pass and refusal.code != "not_deployed"


def final_refusals(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Those that no approval can mend."""
    return tuple(refusal for refusal in refusals if _is_final(refusal))


def mandatory_sites(required: Sequence[str], connected: Sequence[str], strict: bool) -> tuple[str, ...]:
    """The sites without which FLARE must not start a link: the required ones that are there, while that is strict."""
    return tuple(sorted(set(required) & set(connected))) if strict else ()


def pause_before(attempt: int, shortest: float = 5.0, longest: float = 120.0) -> float:
    """Seconds before the next try, growing with the number of tries that failed in a row; none before the first."""
    return min(longest, shortest * 2.0 ** min(attempt - 1, 30)) if attempt > 0 else 0.0
