"""A training step of radfed beside a plain MONAI loop, written as MONAI's tutorials do: throughput and memory.

    python tools/bench/step.py --out bench-step
    python tools/bench/step.py --out bench-step --kinds classification --repeats 3 --steps 20

Both train the same network from the same weights on the same prepared cases, with the same batch size, loss, optimiser
and kinds of random changes. The plain loop (``step_plain.py``) is CacheDataset, DataLoader and dictionary transforms;
it runs with each of ``--workers`` loader processes, and the ratio is taken to its fastest. Each run is a process of its
own, and they take turns, so that what else the machine does hits all. Segmentation is the shipped phantom job's UNet on
phantoms, or another job's with ``--job``; classification is DenseNet121 on pictures of 64 x 64 pixels.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from radfed.cores import share_of_cores
from radfed.job import Job, find_job

RADFED = "radfed"
KINDS = ("segmentation", "classification")
_WARM_UP = 4
_CASES = 24


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        who: ``radfed``, or ``monai-<loader processes>``.
        kind: what was trained.
        steps_per_second: by the clock.
        cpu_seconds: a step, of this process and its loaders.
        peak_mib: resident memory of the process and of each loader together; on CUDA the GPU's.
        loss: mean over the steps, to see that both learn.
    """

    who: str
    kind: str
    steps_per_second: float
    cpu_seconds: float
    peak_mib: float
    loss: float


def job_of(kind: str, name: str) -> Job:
    """The job whose step is measured."""
    if kind == "segmentation":
        return find_job(name)
    content = find_job(name).model_dump(mode="json")
    content["job"]["training"] |= {"batch_size": 32, "learning_rate": 1e-3, "augmentation": {}}
    content["task"] = {
        "name": "pictures",
        "kind": "classification",
        "description": "Made-up pictures",
        "intended_use": "A benchmark",
        "image": {"channels": [{"name": "picture"}], "dimensions": 2, "size": [64, 64]},
        "outcome": {"type": "multiclass", "classes": ["dark", "bright"]},
        "network": {"encoder": {"name": "DenseNet"}},
    }
    return Job.check(content, "benchmark")


def cases_of(job: Job) -> list[tuple[np.ndarray, np.ndarray]]:
    """Prepared images with their labels: maps ``(H, W, D)`` of phantoms, or classes ``(1,)`` of pictures."""
    from radfed.imaging.phantoms import SCANNERS, phantom_case
    from radfed.preprocessing.pipeline import prepare, prepare_label
    from radfed.task import SegmentationTask

    if isinstance(job.task, SegmentationTask):
        found = []
        for seed in range(_CASES):
            phantom = phantom_case(seed, SCANNERS["north"])
            image, _ = prepare(phantom.image.array, phantom.image.affine, job.task)
            found.append((image, prepare_label(phantom.label.array[0], phantom.label.affine, job.task)))
        return found
    random = np.random.default_rng(0)
    pictures = random.normal(size=(20 * _CASES, 1, 64, 64)).astype(np.float32)
    classes = random.integers(0, 2, size=(len(pictures), 1)).astype(np.float32)
    pictures[:, :, :32] += classes[:, :, None, None]
    return list(zip(pictures, classes, strict=True))


def radfed_steps(job: Job, device: str) -> Callable[[int, int], float]:
    """Steps of radfed's own trainer: what takes the number of the first and how many, and gives the mean loss."""
    import torch

    from radfed.task import SegmentationTask
    from radfed.training.kinds import trainer_for
    from radfed.training.outcome_samples import OutcomeSample
    from radfed.training.samples import Prepared, Sample

    trainer = trainer_for(job.task, job.job.training, "bench", 10_000, torch.device(device))
    samples: list[Prepared] = []
    for number, (image, label) in enumerate(cases_of(job)):
        if isinstance(job.task, SegmentationTask):
            samples.append(Sample(f"case-{number}", image, label))
        else:
            samples.append(OutcomeSample(f"case-{number}", image, None, label))
    return lambda first, steps: trainer.train(samples, first, steps).loss


def run_one(who: str, kind: str, name: str, steps: int, threads: int, device: str) -> Measured:
    """Body of a measured process."""
    import torch

    from radfed.training.device import choose_device, claim_threads

    claim_threads(threads)
    chosen = choose_device("cuda" if device == "cuda" else "cpu").type
    job = job_of(kind, name)
    if who == RADFED:
        take = radfed_steps(job, chosen)
    else:
        from step_plain import plain_steps  # type: ignore[import-not-found] # beside this file

        take = plain_steps(job, cases_of(job), int(who.split("-")[1]), chosen)
    take(0, _WARM_UP)
    started, used = time.monotonic(), _cpu_seconds()
    loss = take(_WARM_UP, steps)
    seconds, used = time.monotonic() - started, _cpu_seconds() - used
    peak = torch.cuda.max_memory_allocated() if chosen == "cuda" else _peak_bytes(who)
    return Measured(who, kind, steps / seconds, used / steps, peak / 2**20, loss)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_bytes(who: str) -> int:
    """Largest resident memory of this process, and of the largest loader once for each of them; Linux counts KiB."""
    loaders = 0 if who == RADFED else int(who.split("-")[1])
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * (own + loaders * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def measure(who: str, kind: str, given: argparse.Namespace) -> Measured:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--run", who, kind, "--job", given.job, "--device", given.device]
    command += ["--steps", str(given.steps), "--threads", str(given.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{who}, {kind}: the run failed\n{done.stderr[-2000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def told(kind: str, runs: Sequence[Measured]) -> str:
    """What the runs of a kind say: medians with their range, and the ratio turn by turn."""
    rates = {
        who: [run.steps_per_second for run in runs if run.who == who] for who in dict.fromkeys(r.who for r in runs)
    }
    lines = [f"{kind}: {len(rates[RADFED])} turns"]
    for who, values in rates.items():
        mine = [run for run in runs if run.who == who]
        lines.append(
            f"  {who:<10} {statistics.median(values):7.2f} steps/s ({min(values):.2f} to {max(values):.2f}), "
            f"{statistics.median(run.cpu_seconds for run in mine):.3f} CPU s a step, "
            f"{max(run.peak_mib for run in mine):.0f} MiB at most, loss {mine[-1].loss:.3f}"
        )
    fastest = max((who for who in rates if who != RADFED), key=lambda who: statistics.median(rates[who]))
    ratios = [mine / theirs for mine, theirs in zip(rates[RADFED], rates[fastest], strict=True)]
    lines.append(
        f"  radfed takes {statistics.median(ratios):.2f} times the steps of {fastest} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark, or one of its runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench-step"))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--job", default="phantom_segmentation", help="whose network, patch and batch are segmented with"
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="loader processes of the plain loop")
    parser.add_argument("--threads", type=int, default=share_of_cores(1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--run", nargs=2, metavar=("WHO", "KIND"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        who, kind = given.run
        found = run_one(who, kind, given.job, given.steps, given.threads, given.device)
        print(json.dumps(asdict(found)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    everything: list[Measured] = []
    for kind in given.kinds:
        for turn in range(given.repeats):
            for who in (RADFED, *(f"monai-{workers}" for workers in given.workers)):
                everything.append(measure(who, kind, given))
                print(
                    f"{kind} {turn + 1}/{given.repeats} {who}: {everything[-1].steps_per_second:.2f} steps/s",
                    flush=True,
                )
        print(told(kind, [run for run in everything if run.kind == kind]), flush=True)
    content = {"threads": given.threads, "device": given.device, "runs": [asdict(run) for run in everything]}
    (given.out / "step.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
