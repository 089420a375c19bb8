"""A job of one FLARE job, such as a fingerprint: submit it until every site's people said yes, and bring the result."""

import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from radfed.errors import FederationError, GateError, InvalidInputError
from radfed.federation.campaign_context import Clock, Flare, Orders
from radfed.federation.campaign_rules import pause_before
from radfed.federation.collect import put_in_place
from radfed.federation.recipe import export_job
from radfed.federation.sightings import JobStatus, TooFewSitesError
from radfed.federation.store import JOB, TASK
from radfed.job import Job

_FLARE = "flare"


def submit_once(
    job: Job,
    flare: Flare,
    run: Path,
    wanted: Sequence[str],
    tell: Callable[[str], None],
    orders: Orders | None = None,
    clock: Clock | None = None,
) -> None:
    """Have the sites of a federation answer, once.

    The same exported job is submitted again while a person at a site has not yet approved it. A run folder that holds
    the job already gets the same one again, whose approvals hold.

    Args:
        job: not a training.
        flare: the federation's server.
        run: folder for the results, ``task.yaml``, ``job.json`` and the exported job.
        wanted: files and folders that the job leaves; without the first it has failed.
        tell: told in words what happens.
        orders: how patient to be.
        clock: the time.

    Raises:
        InvalidInputError: the run folder holds another job.
        GateError: a site refused for good, or approval did not come in time.
        FederationError: too few sites were connected, or the job ended without a result.
    """
    orders, clock = orders or Orders(), clock or Clock()
    job, folder = _exported(job, run)
    _wait_for_sites(job, flare, orders, clock)
    began, tries = clock.now(), 0
    while True:
        # Every site has a say: FLARE would start the job without those that refuse it.
        sites = job.job.federation.sites or flare.sites()
        job_id = flare.submit(folder, secrets.token_hex(16), name=job.job.name, mandatory=sites)
        tell(f"submitted as {job_id} to {', '.join(sites)}")
        status = _followed(job_id, flare, orders, clock)
        waiting = [refusal for refusal in status.refusals if refusal.can_pass]
        if len(waiting) < len(status.refusals):
            reasons = "; ".join(f"{r.site}: {r.code}: {r.detail or 'no detail'}" for r in status.refusals)
            raise GateError(f"refused, and no approval can mend it: {reasons}")
        if not waiting:
            _fetch(job_id, status, flare, run, wanted)
            return
        named = ", ".join(f"{refusal.site} ({refusal.code} {(refusal.detail or '')[:16]})" for refusal in waiting)
        if orders.approval_timeout is not None and clock.now() - began >= orders.approval_timeout:
            raise GateError(
                f"no approval at {named} within {orders.approval_timeout:.0f} s; the same command asks again"
            )
        tell(f"waiting for approval at {named}")
        tries += 1
        clock.sleep(pause_before(tries))


def _exported(job: Job, run: Path) -> tuple[Job, Path]:
    """The exported job, the same bytes each time."""
    run.mkdir(parents=True, exist_ok=True)
    if (run / JOB).is_file():
        known = Job.read_json(run / JOB)
        if known != job:
            raise InvalidInputError(f"{run}: holds job {known.job.name} with other settings; give another folder")
    job.write_json(run / JOB)
    (run / TASK).write_text(job.task.to_yaml(), encoding="utf-8")
    shutil.rmtree(run / _FLARE, ignore_errors=True)
    return job, export_job(job, run / _FLARE)


def _wait_for_sites(job: Job, flare: Flare, orders: Orders, clock: Clock) -> None:
    needed, wanted = job.job.federation.min_sites, set(job.job.federation.sites)
    began = clock.now()
    while True:
        there = set(flare.sites())
        if len(there) >= needed and wanted <= there:
            return
        if clock.now() - began >= orders.give_up_after:
            missing = ", ".join(sorted(wanted - there)) or f"{needed} needed"
            raise TooFewSitesError(f"{len(there)} site(s) connected after {orders.give_up_after:.0f} s: {missing}")
        clock.sleep(orders.look)


def _followed(job_id: str, flare: Flare, orders: Orders, clock: Clock) -> JobStatus:
    """Look at a job until FLARE has ended it."""
    while True:
        status = flare.status(job_id)
        if status.ended:
            if not status.deployed:
                # FLARE notes the sites' answers only after it has set the status.
                clock.sleep(orders.look)
                status = flare.status(job_id)
            return status
        clock.sleep(orders.look)


def _fetch(job_id: str, status: JobStatus, flare: Flare, run: Path, wanted: Sequence[str]) -> None:
    place = run / f".{job_id}"
    try:
        results = flare.download(job_id, place)
        if results is None or not (results / wanted[0]).is_file():
            raise FederationError(
                f"job {job_id} ended as {status.status} without a {Path(wanted[0]).stem}; the server's log of it says "
                "why"
            )
        for name in reversed(wanted):
            if (results / name).exists():
                put_in_place(results / name, run / name)
    finally:
        shutil.rmtree(place, ignore_errors=True)
