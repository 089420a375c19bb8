"""What a round costs besides training and evaluation: radfed beside a plain FLARE FedAvg recipe, in one run.

    python tools/bench/federation.py --out bench-federation
    python tools/bench/federation.py --out bench-federation --many 4 8 16

Both run on FLARE's simulator with the same network, the same number of sites, the same polling interval and one CPU
thread a process. Both validate and train with radfed's trainer on the same data; the slowest site's training and
evaluation are taken off each round. A round lasts from one ``Sending task train`` in
FLARE's log to the next. The two take turns, so that what else the machine does hits both.

``--many`` instead runs radfed alone with more and more sites for three rounds, and writes seconds and memory.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from radfed.cores import thread_environment
from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.splits import SplitSettings
from radfed.federation.simulate import simulate
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.job import Job, find_job
from radfed.ledger import SiteLine, read_ledger
from radfed.task import SegmentationTask

# Channels of the shipped phantom job's UNet that make a model of about so many megabytes.
NETWORKS = {1: [20, 40, 80], 100: [224, 448, 896]}
PLAIN = Path(__file__).with_name("federation_plain.py")
_WORKER = re.compile(r"simulator_worker|radfed\.training|multiprocessing")
_SENT = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) .*Sending task train to", re.MULTILINE)


@dataclass(frozen=True)
class Measured:
    """One run: seconds of each round outside training and evaluation, and peak memory (MiB)."""

    who: str
    megabytes: int
    sites: int
    rounds: list[float]
    server_mib: float
    all_mib: float
    wall: float


class Memory:
    """Peak resident memory of this process's children, looked at twice a second."""

    def __init__(self) -> None:
        self.server = self.total = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            sizes = []
            for process in psutil.Process().children(recursive=True):
                try:
                    sizes.append((process.memory_info().rss / 2**20, process.cmdline()))
                except psutil.Error:
                    continue
            # The simulator's own process is the server; its clients and trainers are processes of their own.
            server = [size for size, words in sizes if not _WORKER.search(" ".join(words))]
            self.server = max([self.server, *server])
            self.total = max(self.total, sum(size for size, _ in sizes))


def tiny_job(megabytes: int, sites: int, rounds: int) -> Job:
    """The phantom job with one step a round on a coarse grid."""
    content: dict[str, Any] = find_job("phantom_segmentation").model_dump(mode="json")
    content["task"] |= {"spacing": [3.6, 3.6, 3.6], "roi_size": [16, 16, 16]}
    content["task"]["network"]["args"] |= {"channels": NETWORKS[megabytes]}
    content["job"]["federation"] |= {"rounds": rounds, "local_steps": 1, "min_sites": sites}
    content["job"]["training"] |= {"batch_size": 1}
    return Job.check(content, "bench")


def make_dataset(folder: Path, job: Job) -> Path:
    """One small site's dataset, which every site uses."""
    write_cohort(folder / "raw", "north", SCANNERS["north"], 5, seed=0)
    split = SplitSettings(validation=0.2, test=0.2, seed=0)
    ingest(folder / "raw", folder / "data", IngestSettings("north", bytes(32), folder / "k.csv", job.task, split=split))
    return folder / "data"


def between(log: str) -> list[float]:
    """Seconds from each start of a round to the next."""
    starts = [datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f") for text in _SENT.findall(log)]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]


def run_radfed(megabytes: int, sites: int, rounds: int, data: Path, out: Path) -> Measured:
    """The controller and executor."""
    started = time.monotonic()
    names = [f"site-{number:02d}" for number in range(1, sites + 1)]
    with Memory() as memory:
        simulate(tiny_job(megabytes, sites, rounds), dict.fromkeys(names, data), out, lambda _line: None)
    wall = time.monotonic() - started
    lines = [line for line in read_ledger(out / "ledger.jsonl") if isinstance(line, SiteLine)]
    whole = between((out / "flare.log").read_text())
    net = []
    for number, seconds in enumerate(whole, start=1):
        here = [line for line in lines if line.round == number]
        net.append(seconds - max((line.train_seconds or 0) + (line.evaluation_seconds or 0) for line in here))
    return Measured("radfed", megabytes, sites, net[1:], memory.server, memory.total, wall)


def run_plain(megabytes: int, sites: int, rounds: int, data: Path, out: Path) -> Measured:
    """FLARE's FedAvg recipe with the same network."""
    task = tiny_job(megabytes, sites, rounds).task
    assert isinstance(task, SegmentationTask)
    network = task.network.args.model_dump(mode="json")
    arguments = json.dumps(network | {"spatial_dims": 3})
    started = time.monotonic()
    out.mkdir(parents=True)
    with Memory() as memory, (out / "flare.log").open("wb") as log:
        tiny_job(megabytes, sites, rounds).write_json(out / "job.json")
        command = [sys.executable, str(PLAIN), str(out / "ws"), str(sites), str(rounds), arguments]
        environment = (
            os.environ | thread_environment(sites) | {"BENCH_JOB": str(out / "job.json"), "BENCH_DATA": str(data)}
        )
        subprocess.run(command, stdout=log, stderr=log, check=True, env=environment)
    wall = time.monotonic() - started
    slowest: dict[int, float] = {}
    for path in out.glob("work-*.jsonl"):
        for number, seconds in enumerate(json.loads(line) for line in path.read_text().splitlines()):
            slowest[number] = max(slowest.get(number, 0.0), seconds)
    whole = between((out / "flare.log").read_text())
    net = [seconds - slowest[number] for number, seconds in enumerate(whole)]
    return Measured("recipe", megabytes, sites, net[1:], memory.server, memory.total, wall)


def compare(sizes: Sequence[int], counts: Sequence[int], rounds: int, turns: int, out: Path) -> None:
    """All pairs, turn by turn; each result is on disk as soon as it is known."""
    with tempfile.TemporaryDirectory() as scratch:
        data = make_dataset(Path(scratch), tiny_job(1, 2, 2))
        for megabytes in sizes:
            for sites in counts:
                ratios, results = [], []
                for turn in range(turns):
                    place = Path(scratch) / f"{megabytes}-{sites}-{turn}"
                    ours = run_radfed(megabytes, sites, rounds, data, place / "radfed")
                    theirs = run_plain(megabytes, sites, rounds, data, place / "plain")
                    ratios.append(statistics.median(ours.rounds) / statistics.median(theirs.rounds))
                    results += [ours, theirs]
                    with (out / "overhead.jsonl").open("a") as file:
                        file.writelines(json.dumps(asdict(result)) + "\n" for result in (ours, theirs))
                print(_row(megabytes, sites, results, ratios), flush=True)


def _row(megabytes: int, sites: int, results: Sequence[Measured], ratios: Sequence[float]) -> str:
    def of(who: str, what: Callable[[Measured], float]) -> float:
        return statistics.median(what(result) for result in results if result.who == who)

    seconds = [of(who, lambda r: statistics.median(r.rounds)) for who in ("radfed", "recipe")]
    memory = [of(who, lambda r: r.server_mib) for who in ("radfed", "recipe")]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return (
        f"| {megabytes} MB | {sites} | {seconds[0]:.2f} | {seconds[1]:.2f} | {spread} "
        f"| {memory[0]:.0f} | {memory[1]:.0f} |"
    )


def many(counts: Sequence[int], out: Path) -> None:
    """Only radfed, with more and more sites: three rounds each."""
    with tempfile.TemporaryDirectory() as scratch:
        data = make_dataset(Path(scratch), tiny_job(1, 2, 2))
        for sites in counts:
            result = run_radfed(1, sites, 3, data, Path(scratch) / str(sites))
            with (out / "many.jsonl").open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            rounds = " ".join(f"{seconds:.1f}" for seconds in result.rounds)
            print(
                f"| {sites} | {result.wall:.0f} | {rounds} | {result.server_mib:.0f} | {result.all_mib:.0f} |",
                flush=True,
            )


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the measurements")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 100], choices=sorted(NETWORKS), help="megabytes")
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--many", type=int, nargs="+", help="instead: radfed alone with so many sites")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.many:
        many(options.many, options.out)
    else:
        compare(options.sizes, options.sites, options.rounds, options.turns, options.out)


if __name__ == "__main__":
    main()
