"""A job of one FLARE job on sites that are all on this machine, by FLARE's simulator: what a federation would give."""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from radfed.errors import FederationError, InvalidInputError
from radfed.federation.collect import put_in_place
from radfed.federation.simulate import last_error, simulator, write_sites
from radfed.federation.statistics_controller import RESULTS
from radfed.federation.store import JOB, TASK
from radfed.job import Job
from radfed.site.statistics_settings import StatisticsSettings

_LOOK = 0.25
_LOG = "flare.log"


def simulate_once(
    job: Job,
    datasets: Mapping[str, Path],
    run: Path,
    wanted: Sequence[str],
    statistics: StatisticsSettings | None = None,
    releases: Path | None = None,
) -> None:
    """Have sites on this machine answer, once.

    Args:
        job: not a training.
        datasets: the prepared dataset of each site, by site name.
        run: folder for the results, ``task.yaml``, ``job.json`` and FLARE's log.
        wanted: files that the job leaves; the first one comes last, and without it the job has failed.
        statistics: how careful every site is with a fingerprint.
        releases: where every site finds its releases.

    Raises:
        InvalidInputError: there are fewer sites than the job needs.
        FederationError: there is no result.
    """
    needed = job.job.federation.min_sites
    if len(datasets) < needed:
        raise InvalidInputError(f"job {job.job.name} needs {needed} sites, got {len(datasets)}: {', '.join(datasets)}")
    run.mkdir(parents=True, exist_ok=True)
    job.write_json(run / JOB)
    (run / TASK).write_text(job.task.to_yaml(), encoding="utf-8")
    for name in wanted:
        (run / name).unlink(missing_ok=True)
    # FLARE splits its command line at spaces, so its workspace cannot lie under a folder of the user's choice.
    with tempfile.TemporaryDirectory(prefix="radfed-", ignore_cleanup_errors=True) as scratch:
        place, sites = Path(scratch), sorted(datasets)
        write_sites(place / "sites", datasets, statistics, releases)
        job.write_json(place / JOB)
        results = place / "flare" / job.job.name / "server" / "simulate_job" / RESULTS
        with (run / _LOG).open("wb") as log, simulator(place, log.fileno(), sites) as process:
            # It is there only when it is whole; what FLARE does afterwards is waiting.
            while process.poll() is None and not (results / wanted[0]).is_file():
                time.sleep(_LOOK)
        for name in reversed(wanted):
            if (results / name).is_file():
                # The other place may be on another disk.
                beside = run / f".{name}.partial"
                shutil.copyfile(results / name, beside)
                put_in_place(beside, run / name)
    if not (run / wanted[0]).is_file():
        raise FederationError(f"there is no {Path(wanted[0]).stem}; FLARE's log is in {run}: {last_error(run)}")
