import pytest
from hypothesis import given
from hypothesis import strategies as st

from radfed.federation.campaign_rules import (
    Abort,
    Close,
    Limits,
    Seen,
    Step,
    Wait,
    decide,
    mandatory_sites,
    pause_before,
)
from radfed.federation.sightings import JobStatus, Life

LIMITS = Limits(patience=100, gone=20, schedule=50, abort=30)
PENDING = {"north": "OK", "south": "NVFLARE_ERROR: radfed:not_approved:abc"}
REFUSED = {"north": "OK", "south": "radfed:not_codeless:custom/a.py"}
BROKEN = {"north": "OK", "south": "no reply (deployment timeout)"}


def seen(
    status: str,
    life: Life = Life.GONE,
    quiet: float = 0.0,
    deployed: dict[str, str] | None = None,
    **more: bool | str | float | None,
) -> Seen:
    return Seen(JobStatus("j", "c", status, deployed or {}), life, quiet, **more)  # type: ignore[arg-type] # test data


@pytest.mark.parametrize(
    ("what", "step"),
    [
        (seen("SUBMITTED", quiet=50), Wait()),
        (seen("SUBMITTED", quiet=51), Abort("not_scheduled")),
        (seen("DISPATCHED", quiet=51), Abort("not_scheduled")),
        (seen("RUNNING", Life.ANSWERED, quiet=1e9), Wait()),
        (seen("RUNNING", Life.SILENT, quiet=100), Wait()),
        (seen("RUNNING", Life.SILENT, quiet=101), Abort("silent")),
        (seen("RUNNING", Life.GONE, quiet=20), Wait()),
        (seen("RUNNING", Life.GONE, quiet=21), Abort("no_process")),
        (seen("FINISHED:COMPLETED"), Close("ended", "completed")),
        (seen("FINISHED:COMPLETED", concluded=True), Close("done", "concluded")),
        # What FLARE thinks of a job does not matter once the ledger has its final line.
        (seen("FINISHED:EXECUTION_EXCEPTION", concluded=True), Close("done", "concluded")),
        (seen("FINISHED:ABNORMAL"), Close("lost", "abnormal")),
        (seen("FINISHED:EXECUTION_EXCEPTION"), Close("lost", "execution_exception")),
        (seen("FINISHED:CAN_NOT_SCHEDULE"), Close("not_scheduled", "not_scheduled")),
        (seen("FINISHED:ABORTED", aborted="not_scheduled"), Close("not_scheduled", "not_scheduled")),
        (seen("FINISHED:ABORTED", aborted="silent"), Close("lost", "silent")),
        # FLARE packs the results of a job whose process is gone only when it is told to abort it.
        (seen("FINISHED:ABORTED", aborted="no_process", concluded=True), Close("done", "concluded")),
        (seen("RUNNING", Life.SILENT, aborted="silent", since_abort=30), Wait()),
        (seen("RUNNING", Life.SILENT, aborted="silent", since_abort=31), Close("lost", "silent_abandoned")),
        (seen("FINISHED:FAILED_TO_RUN", deployed=PENDING), Close("awaiting_approval", "not_approved")),
        (seen("FINISHED:FAILED_TO_RUN", deployed=REFUSED), Close("refused", "refused")),
        (seen("FINISHED:FAILED_TO_RUN", deployed=PENDING | {"west": REFUSED["south"]}), Close("refused", "refused")),
        (seen("FINISHED:FAILED_TO_RUN", deployed=BROKEN), Close("lost", "failed_to_run")),
        # A site that refuses a job which runs without it: only the beginning is strict.
        (seen("RUNNING", Life.ANSWERED, deployed=PENDING), Wait()),
        (seen("RUNNING", Life.ANSWERED, deployed=PENDING, strict=True), Abort("awaiting_approval")),
        (seen("RUNNING", Life.ANSWERED, deployed=REFUSED, strict=True), Abort("refused")),
        (seen("RUNNING", Life.ANSWERED, deployed=BROKEN, strict=True), Wait()),
        (
            seen("FINISHED:ABORTED", deployed=PENDING, aborted="awaiting_approval"),
            Close("awaiting_approval", "not_approved"),
        ),
        (seen("FINISHED:ABORTED", deployed=REFUSED, aborted="refused"), Close("refused", "refused")),
        # It ran without that site and broke off: that is why it is lost, and not the refusal.
        (seen("FINISHED:ABNORMAL", deployed=PENDING), Close("lost", "abnormal")),
    ],
)
def test_what_is_done_about_a_link(what: Seen, step: Step) -> None:
    assert decide(what, LIMITS) == step


@given(
    st.sampled_from(["SUBMITTED", "DISPATCHED", "RUNNING"]),
    st.sampled_from([Life.SILENT, Life.GONE]),
    st.booleans(),
)
def test_a_link_without_life_never_waits_for_ever(status: str, life: Life, concluded: bool) -> None:
    first = decide(seen(status, life, quiet=1e6, concluded=concluded), LIMITS)
    assert isinstance(first, Abort)
    second = decide(seen(status, life, quiet=1e6, aborted=first.reason, since_abort=1e6), LIMITS)
    assert isinstance(second, Close)


@given(st.integers(0, 100))
def test_pauses_grow_and_stay_bounded(attempt: int) -> None:
    assert pause_before(0) == 0
    assert 0 <= pause_before(attempt) <= pause_before(attempt + 1) <= 120


def test_only_connected_required_sites_are_mandatory_and_only_at_the_beginning() -> None:
    assert mandatory_sites(("a", "b"), ("c", "b"), strict=True) == ("b",)
    assert mandatory_sites(("a", "b"), ("a", "b"), strict=False) == ()
