"""A fingerprint of a real federation."""

from collections.abc import Callable
from pathlib import Path

from radfed.dataset.fingerprint_content import FINGERPRINT, Fingerprint
from radfed.federation.campaign_context import Clock, Flare, Orders
from radfed.federation.single_submit import submit_once
from radfed.job import Job


def submit_fingerprint(
    job: Job,
    flare: Flare,
    run: Path,
    tell: Callable[[str], None],
    orders: Orders | None = None,
    clock: Clock | None = None,
) -> Fingerprint:
    """Have the sites of a federation describe their data, see ``submit_once``.

    Args:
        job: of ``fingerprint_job``.
        flare: the federation's server.
        run: folder for ``fingerprint.json``, ``task.yaml``, ``job.json`` and the exported job.
        tell: told in words what happens.
        orders: how patient to be.
        clock: the time.
    """
    submit_once(job, flare, run, (FINGERPRINT,), tell, orders, clock)
    return Fingerprint.read_json(run)
