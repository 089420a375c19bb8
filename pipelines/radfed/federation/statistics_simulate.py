"""A fingerprint of sites that are all on this machine, by FLARE's simulator: what a real federation would give."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from radfed.dataset.fingerprint_content import FINGERPRINT, Fingerprint
from radfed.errors import FederationError, InvalidInputError
from radfed.federation.simulate import last_error, simulator, write_sites
from radfed.federation.statistics_controller import RESULTS
from radfed.job import Job
from radfed.site.statistics_settings import StatisticsSettings

_LOOK = 0.25
_JOB, _TASK, _LOG = "job.json", "task.yaml", "flare.log"


def simulate_fingerprint(
    job: Job, datasets: Mapping[str, Path], run: Path, statistics: StatisticsSettings | None = None
) -> Fingerprint:
    """Describe the data of sites on this machine.

    Args:
        job: of ``fingerprint_job``.
        datasets: the prepared dataset of each site, by site name.
        run: folder for ``fingerprint.json``, ``task.yaml``, ``job.json`` and FLARE's log.
        statistics: how careful every site is.

    Raises:
        InvalidInputError: there are fewer sites than the job needs.
        FederationError: there is no fingerprint.
    """
    needed = job.job.federation.min_sites
    if len(datasets) < needed:
        raise InvalidInputError(f"job {job.job.name} needs {needed} sites, got {len(datasets)}: {', '.join(datasets)}")
    run.mkdir(parents=True, exist_ok=True)
    job.write_json(run / _JOB)
    (run / _TASK).write_text(job.task.to_yaml(), encoding="utf-8")
    (run / FINGERPRINT).unlink(missing_ok=True)
    # FLARE splits its command line at spaces, so its workspace cannot lie under a folder of the user's choice.
    with tempfile.TemporaryDirectory(prefix="radfed-", ignore_cleanup_errors=True) as scratch:
        place, sites = Path(scratch), sorted(datasets)
        write_sites(place / "sites", datasets, statistics or StatisticsSettings())
        job.write_json(place / _JOB)
        found = place / "flare" / job.job.name / "server" / "simulate_job" / RESULTS / FINGERPRINT
        with (run / _LOG).open("wb") as log, simulator(place, log.fileno(), sites) as process:
            # It is there only when it is whole; what FLARE does afterwards is waiting.
            while process.poll() is None and not found.is_file():
                time.sleep(_LOOK)
        if not found.is_file():
            raise FederationError(f"there is no fingerprint; FLARE's log is in {run}: {last_error(run)}")
        shutil.copyfile(found, run / f".{FINGERPRINT}.partial")
        os.replace(run / f".{FINGERPRINT}.partial", run / FINGERPRINT)
    return Fingerprint.read_json(run)
