"""A federation on one machine: FLARE's simulator in processes of their own, watched through the ledger."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from nvflare.recipe import SimEnv

from radfed.cores import share_of_cores, thread_environment
from radfed.errors import FederationError, InvalidInputError
from radfed.federation.place import SITES_FOLDER
from radfed.federation.recipe import ALLOWED_CLASSES, CodelessRecipe
from radfed.federation.store import BEST, FINAL, LEDGER
from radfed.job import Job
from radfed.ledger import FinalLine, Line, read_ledger
from radfed.privacy.spent import PRIVACY_FILE
from radfed.site.config import SiteSettings
from radfed.site.statistics_settings import StatisticsSettings

_LOOK = 0.25
# FLARE's simulator sleeps through fixed grace times of about 9 s at its end; the ledger's last line comes after all
# results are on disk, so nothing is lost by not waiting.
_GRACE = 0.25
_RESULTS = (LEDGER, BEST, FINAL, PRIVACY_FILE)


def simulate(job: Job, datasets: Mapping[str, Path], run: Path, on_line: Callable[[Line], None]) -> FinalLine:
    """Run a job on sites of this machine.

    Args:
        job: what to run.
        datasets: the prepared dataset of each site, by site name.
        run: folder for ``job.json``, ``task.yaml``, ``ledger.jsonl``, the models and FLARE's logs.
        on_line: called with each ledger line as it is written.

    Returns:
        The ledger's last line.

    Raises:
        InvalidInputError: there are fewer sites than the job needs.
        FederationError: the federation left no usable model.
    """
    needed = job.job.federation.min_sites
    if len(datasets) < needed:
        raise InvalidInputError(f"job {job.job.name} needs {needed} sites, got {len(datasets)}: {', '.join(datasets)}")
    run.mkdir(parents=True, exist_ok=True)
    # An exported job belongs to a chain; here is only one FLARE job.
    job = job.model_copy(update={"campaign": None})
    job.write_json(run / "job.json")
    (run / "task.yaml").write_text(job.task.to_yaml(), encoding="utf-8")
    # FLARE splits its command line at spaces, so its workspace cannot lie under a folder of the user's choice.
    with tempfile.TemporaryDirectory(prefix="radfed-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        write_sites(place / "sites", datasets)
        lines = _watch(job, place, sorted(datasets), run, on_line)
    final = lines[-1] if lines else None
    if not isinstance(final, FinalLine) or final.outcome == "FAILED":
        raise FederationError(f"the federation failed; its ledger and FLARE's logs are in {run}: {last_error(run)}")
    return final


def write_sites(
    folder: Path,
    datasets: Mapping[str, Path],
    statistics: StatisticsSettings | None = None,
    releases: Path | None = None,
) -> None:
    """Write ``<site>/site.yaml`` for every site of a simulation."""
    careful = statistics or StatisticsSettings()
    threads = share_of_cores(len(datasets))
    for site, dataset in datasets.items():
        (folder / site).mkdir(parents=True)
        settings = SiteSettings(name=site, dataset=dataset.resolve(), threads=threads, statistics=careful)
        if releases is not None:
            settings = settings.model_copy(update={"releases": releases.resolve()})
        (folder / site / "site.yaml").write_text(settings.to_yaml(), encoding="utf-8")


def _watch(job: Job, place: Path, sites: list[str], run: Path, on_line: Callable[[Line], None]) -> list[Line]:
    """Start the simulator and follow its ledger until it ends."""
    results = place / "flare" / job.job.name / "server" / "simulate_job" / "radfed"
    job.write_json(place / "job.json")
    seen, concluded_at = 0, float("inf")
    with (run / "flare.log").open("wb") as log, simulator(place, log.fileno(), sites) as process:
        while True:
            ended = process.poll() is not None or time.monotonic() - concluded_at > _GRACE
            lines = read_ledger(results / LEDGER)
            for line in lines[seen:]:
                on_line(line)
            seen = len(lines)
            if lines and isinstance(lines[-1], FinalLine):
                concluded_at = min(concluded_at, time.monotonic())
            if ended:
                break
            time.sleep(_LOOK)
    for name in _RESULTS:
        if (results / name).is_file():
            shutil.move(results / name, run / name)
    for log_file in (place / "flare" / job.job.name).glob("*/**/log_fl.txt"):
        site = log_file.relative_to(place / "flare" / job.job.name).parts[0]
        (run / "logs").mkdir(exist_ok=True)
        shutil.copyfile(log_file, run / "logs" / f"{site}.txt")
    return lines


@contextmanager
def simulator(
    place: Path, log: int, sites: list[str], module: str = "radfed.federation.simulate"
) -> Iterator[subprocess.Popen[bytes]]:
    """The simulator, with its share of cores; its whole family ends with it, on an interrupt too.

    Args:
        place: holds ``job.json`` and ``sites/<site>/site.yaml``.
        log: file descriptor for what it says.
        sites: their names.
        module: whose body runs FLARE's simulator.
    """
    command = [sys.executable, "-m", module, str(place), *sites]
    where = {SITES_FOLDER: str(place / "sites"), "PYTHONWARNINGS": "ignore"}
    environment = os.environ | thread_environment(len(sites)) | where
    process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    family = psutil.Process(process.pid)
    try:
        yield process
    finally:
        members = [*_children(family), family]
        for member in members:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()
        psutil.wait_procs(members, timeout=5)


def _children(family: psutil.Process) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = family.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def last_error(run: Path, log: str = "flare.log") -> str:
    """The last error that FLARE logged, for a person at this machine."""
    text = (run / log).read_text(encoding="utf-8", errors="replace")
    errors = [line.strip() for line in text.splitlines() if "ERROR" in line or "Error:" in line]
    return errors[-1][-400:] if errors else f"{log} names no error"


def main(place: Path, sites: list[str]) -> None:
    """Body of the simulator's process."""
    job = Job.read_json(place / "job.json")
    local = place / "flare" / job.job.name / "local"
    local.mkdir(parents=True)
    policy = {"format_version": 2, "class_allow_list": list(ALLOWED_CLASSES)}
    (local / "resources.json").write_text(json.dumps(policy), encoding="utf-8")
    CodelessRecipe(job, place).run(SimEnv(clients=sites, workspace_root=str(place / "flare")))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
