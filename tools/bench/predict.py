"""``radfed predict`` beside the same model in MONAI and torch on the CPU: throughput, memory and cold start.

    python tools/bench/predict.py --workload RELEASE CASES --out bench-predict
    python tools/bench/predict.py --workload RELEASE CASES --workload RELEASE CASES --repeats 5 --threads 2
    python tools/bench/predict.py --untrained hippocampus_segmentation CASES --cases 8

Both read the same NIfTI files, use the same threads and write masks; each run is a process of its own and they take
turns, so that what else the machine does hits all. ``monai`` uses MONAI's own transforms there and back, ``monai+prep``
radfed's preprocessing inside a MONAI program, the masks of which must agree with radfed's; ratios are taken to the
faster of the two, memory to the smaller. Throughput and peak memory are of one process with several cases after a
first one; cold start is from the start of the process to the first mask, of one case.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from radfed.cores import share_of_cores
from radfed.task import SegmentationTask

RADFED, MONAI, PREPARED = "radfed", "monai", "monai+prep"
_LEAST_DICE = 0.999
_PLAIN = Path(__file__).with_name("predict_plain.py")


@dataclass(frozen=True)
class Workload:
    """A release and the cases that it segments."""

    release: Path
    cases: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The task's."""
        return self.task.name

    @property
    def task(self) -> SegmentationTask:
        """The contract."""
        return SegmentationTask.read(self.release / "task.yaml")

    @property
    def sides(self) -> tuple[str, ...]:
        """Who segments: MONAI's own transforms make volumes."""
        return (RADFED, MONAI, PREPARED) if self.task.dimensions == 3 else (RADFED, PREPARED)


@dataclass(frozen=True)
class Measured:
    """One turn of one side.

    Attributes:
        cases_per_second: warm.
        cpu_seconds: of a case, warm.
        peak_mib: largest resident memory of the process (the only one it has).
        cold_seconds: from the start of a process to its first mask.
        dice: smallest agreement with radfed's masks of this turn, over cases and labels.
    """

    workload: str
    side: str
    cases_per_second: float
    cpu_seconds: float
    peak_mib: float
    cold_seconds: float
    dice: float


def untrained(job: str, folder: Path) -> Path:
    """A model with the job's network and weights from its seed, as a release holds them."""
    from radfed.job import find_job
    from radfed.release.export import export_onnx
    from radfed.training.networks import build_network
    from radfed.weights import save_weights, weights_digest

    task = find_job(job).task
    assert isinstance(task, SegmentationTask)
    folder.mkdir(parents=True, exist_ok=True)
    network = build_network(task, seed=0)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    save_weights(folder / "model.safetensors", weights)
    export_onnx(network, task, folder / "model.onnx", weights_digest(weights))
    (folder / "task.yaml").write_text(task.to_yaml(), encoding="utf-8")
    return folder


def radfed_run(model: Path, warm: Path, timed: Path, out: Path, threads: int) -> None:
    """Body of radfed's measured process."""
    from radfed.inference.opened import open_model
    from radfed.inference.predict import predict_masks

    opened = open_model(model, threads)
    predict_masks(opened, warm, out)
    started, used = time.perf_counter(), time.process_time()
    found = predict_masks(opened, timed, out)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    failed = [one.message for one in found if one.reason]
    if failed:
        raise SystemExit(f"radfed: {failed[0]}")
    peak = peak_mib()
    print(json.dumps({"cases": len(found), "seconds": seconds, "cpu_seconds": used, "peak_mib": peak}))


def peak_mib() -> float:
    """Largest resident memory since the program began; ``ru_maxrss`` would count what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def command_of(side: str, workload: Workload, cases: Path, out: Path, threads: int) -> list[str]:
    """What a user types to segment a folder."""
    release, given = str(workload.release), ["--out", str(out), "--threads", str(threads)]
    if side == RADFED:
        return [sys.executable, "-m", "radfed.cli.main", "predict", _model(workload), str(cases), *given]
    return [sys.executable, str(_PLAIN), release, str(cases), *given, *(["--prepared"] if side == PREPARED else [])]


def _model(workload: Workload) -> str:
    whole = (workload.release / "SHA256SUMS").exists()
    return str(workload.release if whole else workload.release / "model.onnx")


def cold(side: str, workload: Workload, one: Path, out: Path, threads: int) -> float:
    """Seconds from the start of a process to its first mask."""
    shutil.rmtree(out, ignore_errors=True)
    mask = out / next(one.iterdir()).name
    started = time.perf_counter()
    process = subprocess.Popen(
        command_of(side, workload, one, out, threads), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=_environment(threads),
    )  # fmt: skip
    while not mask.exists() and process.poll() is None:
        time.sleep(0.001)
    seconds = time.perf_counter() - started
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{side}: the run failed\n{said.decode()[-2000:]}")
    return seconds


def measure(side: str, workload: Workload, work: Path, threads: int, truth: Path) -> Measured:
    """One turn: several cases warm, then one cold."""
    out = work / side
    if side == RADFED:
        command = [sys.executable, __file__, "--run", _model(workload), str(work / "one"), str(work / "all"), str(out)]
        command += ["--threads", str(threads)]
    else:
        command = [*command_of(side, workload, work / "one", out, threads), "--timed", str(work / "all")]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(threads))
    if done.returncode != 0:
        raise SystemExit(f"{side}: the run failed\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    dice = min(_dice(truth / path.name, out / path.name) for path in (work / "all").iterdir())
    seconds = cold(side, workload, work / "one", work / f"{side}-cold", threads)
    count = found["cases"]
    rate, used = count / found["seconds"], found["cpu_seconds"] / count
    return Measured(workload.name, side, rate, used, found["peak_mib"], seconds, dice)


def _environment(threads: int) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}


def _dice(mine: Path, theirs: Path) -> float:
    import nibabel

    a, b = (np.asarray(nibabel.load(path).dataobj).squeeze().astype(int) for path in (mine, theirs))
    labels = set(np.unique(a)) | set(np.unique(b))
    scores = [2 * int(((a == k) & (b == k)).sum()) / (int((a == k).sum()) + int((b == k).sum())) for k in labels - {0}]
    return min(scores, default=1.0)


def told(workload: Workload, runs: Sequence[Measured]) -> str:
    """Medians with their range, and radfed's ratios turn by turn."""
    mine = [run for run in runs if run.workload == workload.name]
    lines = [f"{workload.name}: {len(workload.cases)} cases, {len(mine) // len(workload.sides)} turns"]
    for side in workload.sides:
        these = [run for run in mine if run.side == side]
        rates, colds = [run.cases_per_second for run in these], [run.cold_seconds for run in these]
        lines.append(
            f"  {side:<11} {statistics.median(rates):7.2f} cases/s ({min(rates):.2f} to {max(rates):.2f}), "
            f"{1000 * statistics.median(run.cpu_seconds for run in these):.0f} CPU ms a case, "
            f"{max(run.peak_mib for run in these):5.0f} MiB at most, first mask after {statistics.median(colds):.2f} s "
            f"({min(colds):.2f} to {max(colds):.2f}), Dice with radfed {min(run.dice for run in these):.5f}"
        )
    others = [side for side in workload.sides if side != RADFED]
    for what, key, best in (
        ("throughput", "cases_per_second", max),
        ("CPU time", "cpu_seconds", min),
        ("peak memory", "peak_mib", min),
        ("cold start", "cold_seconds", min),
    ):
        ours = [getattr(run, key) for run in mine if run.side == RADFED]
        theirs = {side: [getattr(run, key) for run in mine if run.side == side] for side in others}
        chosen = best(others, key=lambda side: statistics.median(theirs[side]))
        ratios = [a / b for a, b in zip(ours, theirs[chosen], strict=True)]
        lines.append(
            f"  {what}: {statistics.median(ratios):.2f} times that of {chosen} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return "\n".join(lines)


def prepare_folders(workload: Workload, work: Path) -> None:
    """``all`` holds the cases, ``one`` the smallest of them."""
    for name, cases in (("all", workload.cases), ("one", [min(workload.cases, key=lambda path: path.stat().st_size)])):
        (work / name).mkdir(parents=True)
        for path in cases:
            shutil.copyfile(path, work / name / path.name)


def run(workload: Workload, work: Path, repeats: int, threads: int) -> list[Measured]:
    """All turns of a workload."""
    prepare_folders(workload, work)
    runs = []
    for turn in range(repeats):
        for side in workload.sides:
            runs.append(measure(side, workload, work, threads, work / RADFED))
            last = runs[-1]
            print(
                f"{workload.name} {turn + 1}/{repeats} {side}: {last.cases_per_second:.2f} cases/s, "
                f"{last.peak_mib:.0f} MiB, {last.cold_seconds:.2f} s",
                flush=True,
            )
    apart = [run for run in runs if run.side == PREPARED and run.dice < _LEAST_DICE]
    if apart:
        raise SystemExit(f"{workload.name}: the masks do not agree (Dice {min(run.dice for run in apart):.5f})")
    return runs


def main() -> None:
    """Run the benchmark, or radfed's measured process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", nargs=2, type=Path, action="append", default=[], metavar=("RELEASE", "CASES"))
    parser.add_argument("--untrained", nargs=2, action="append", default=[], metavar=("JOB", "CASES"))
    parser.add_argument("--cases", type=int, default=8, help="at most so many of each workload")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=share_of_cores(1))
    parser.add_argument("--out", type=Path, default=Path("bench-predict"))
    parser.add_argument("--run", nargs=4, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        model, warm, timed, out = given.run
        radfed_run(model, warm, timed, out, given.threads)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    runs: list[Measured] = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        releases = [tuple(pair) for pair in given.workload]
        releases += [(untrained(job, work / job), Path(cases)) for job, cases in given.untrained]
        for number, (release, cases) in enumerate(releases):
            workload = Workload(release, tuple(sorted(cases.glob("*.nii.gz"))[: given.cases]))
            found = run(workload, work / str(number), given.repeats, given.threads)
            print(told(workload, found), flush=True)
            runs += found
    content = {"threads": given.threads, "runs": [asdict(one) for one in runs]}
    (given.out / "predict.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
