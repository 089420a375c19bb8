"""A fingerprint of sites that are all on this machine."""

from collections.abc import Mapping
from pathlib import Path

from radfed.dataset.fingerprint_content import FINGERPRINT, Fingerprint
from radfed.federation.single_simulate import simulate_once
from radfed.job import Job
from radfed.site.statistics_settings import StatisticsSettings


def simulate_fingerprint(
    job: Job, datasets: Mapping[str, Path], run: Path, statistics: StatisticsSettings | None = None
) -> Fingerprint:
    """Describe the data of sites on this machine, see ``simulate_once``.

    Args:
        job: of ``fingerprint_job``.
        datasets: the prepared dataset of each site, by site name.
        run: folder for ``fingerprint.json``, ``task.yaml``, ``job.json`` and FLARE's log.
        statistics: how careful every site is.
    """
    simulate_once(job, datasets, run, (FINGERPRINT,), statistics)
    return Fingerprint.read_json(run)
