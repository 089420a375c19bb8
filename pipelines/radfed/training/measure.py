"""Measure a job on this machine: size of its model, speed of its steps, memory. Prints one line of JSON.

``python -m radfed.training.measure --job job.json --site site.yaml``, a process of its own for those who must not load
torch themselves. Steps are taken on the site's own cases, or on random patches when there are none.
``--count-only`` leaves the steps out; ``--find-batch`` also looks for the largest batch that the memory holds.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch

from radfed.dataset.layout import Dataset
from radfed.errors import RadfedError
from radfed.job import Job
from radfed.site.config import SiteSettings, read_site
from radfed.training.device import choose_device, claim_threads
from radfed.training.kinds import load_cases, trainer_for
from radfed.training.networks import build_network
from radfed.training.samples import Prepared
from radfed.training.trainer import Trainer

# Of the memory that was free before: the rest is for what else the machine does.
_MEMORY_SHARE, _LARGEST_BATCH = 0.8, 4096
# The first step builds kernels and buffers. After it, steps until the clock has something to show.
_WARM_UP, _MOST, _SECONDS = 1, 20, 8.0


@dataclass(frozen=True)
class Measured:
    """Sizes in bytes, times in seconds.

    Attributes:
        parameters: trainable numbers of the network.
        bytes: all weights and buffers, which is what travels.
        steps_per_second: optimiser steps.
        seconds_per_epoch: every training case once; None without a dataset.
        evaluation_seconds: all validation cases, from one of them; None without a dataset.
        peak_memory_bytes: largest use, of the GPU on CUDA, else of this process.
        gpu_memory_bytes: free on the GPU before the measurement.
        gpu_total_bytes: of the GPU as a whole.
        device: where the steps ran.
        largest_batch: cases in a step that the memory holds, a power of two; None if it was not looked for.
    """

    parameters: int
    bytes: int
    steps_per_second: float | None = None
    seconds_per_epoch: float | None = None
    evaluation_seconds: float | None = None
    peak_memory_bytes: int = 0
    gpu_memory_bytes: int | None = None
    gpu_total_bytes: int | None = None
    device: str = "cpu"
    largest_batch: int | None = None


def measure_size(job: Job) -> Measured:
    """Size of a job's network, without a step."""
    network = build_network(job.task, job.job.training.seed)
    return Measured(
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        bytes=sum(t.numel() * t.element_size() for t in network.state_dict().values()),
        peak_memory_bytes=_process_peak(),
    )


def measure(job: Job, site: SiteSettings) -> Measured:
    """A few optimiser steps of a job on a site's data and device.

    Raises:
        RadfedError: the device is not there, a case does not fit the task, or the loss is not a number.
    """
    if site.threads is not None:
        claim_threads(site.threads)
    device, size = choose_device(site.device), measure_size(job)
    free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else (None, None)
    training, validation = _samples(job, site)
    federation = job.job.federation
    trainer = trainer_for(job.task, job.job.training, site.name, federation.rounds * federation.local_steps, device)
    speed = _speed(trainer, training or [trainer.made_up(np.random.default_rng(0))])
    scored = trainer.validate(validation[:1])
    batches = -(-len(training) // job.job.training.batch_size)
    return replace(
        size,
        steps_per_second=speed,
        seconds_per_epoch=batches / speed if training else None,
        evaluation_seconds=scored.seconds * len(validation) if scored else None,
        peak_memory_bytes=_process_peak() if free is None else free - torch.cuda.mem_get_info(device)[0],
        gpu_memory_bytes=free,
        gpu_total_bytes=total,
        device=device.type,
    )


def largest_batch(job: Job, device: torch.device, memory: int | None = None) -> int:
    """The largest power of two of made-up cases with which a step fits into the memory; at least 1.

    The need grows evenly with the batch: each is tried only if the two before say that it will fit.

    Args:
        job: what to train.
        device: where.
        memory: bytes that a step may take more than there is in use; None: a share of what is free.
    """
    room = int(_MEMORY_SHARE * _free_memory(device)) if memory is None else memory
    before, fits, needed = _memory_peak(device), 1, [0]
    # A single case is not tried: batch normalisation may need two, and less memory than one case takes no job.
    while fits < _LARGEST_BATCH:
        # From one power of two to the next the batch grows by twice as much as it did the time before.
        if len(needed) > 2 and needed[-1] + 2 * (needed[-1] - needed[-2]) > room:
            break
        try:
            needed.append(_need(job, device, 2 * fits, before))
        except torch.OutOfMemoryError:
            break
        if needed[-1] > room:
            break
        fits *= 2
    return fits


def _need(job: Job, device: torch.device, batch_size: int, before: int) -> int:
    """Bytes that a step takes at most, beyond those that were taken before."""
    settings = job.job.training.model_copy(update={"batch_size": batch_size})
    trainer = trainer_for(job.task, settings, "measure", 2, device)
    trainer.train([trainer.made_up(np.random.default_rng(0))] * batch_size, 0, 1)
    return _memory_peak(device) - before


def _memory_peak(device: torch.device) -> int:
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else _process_peak()


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _speed(trainer: Trainer[Prepared], samples: Sequence[Prepared]) -> float:
    """Optimiser steps per second."""
    trainer.train(samples, 0, _WARM_UP)
    started = time.monotonic()
    trained = 0
    while trained < _MOST and time.monotonic() - started < _SECONDS:
        # Reading the loss waits for the device, so the clock shows the whole step.
        trainer.train(samples, _WARM_UP + trained, 1)
        trained += 1
    return trained / (time.monotonic() - started)


def _samples(job: Job, site: SiteSettings) -> tuple[list[Prepared], list[Prepared]]:
    if site.dataset is None:
        return [], []
    dataset = Dataset.read(site.dataset)
    return load_cases(dataset, "training", job.task), load_cases(dataset, "validation", job.task)


def _process_peak() -> int:
    """Largest resident memory of this process; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Body of the process; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m radfed.training.measure", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="job.json, as in a FLARE job's config/radfed.json")
    parser.add_argument("--site", type=Path, help="site.yaml or its folder")
    parser.add_argument("--count-only", action="store_true", help="only the size of the model")
    parser.add_argument("--find-batch", action="store_true", help="also the largest batch that the memory holds")
    given = parser.parse_args(arguments)
    if given.site is None and not given.count_only:
        parser.error("give --site, or --count-only to leave the steps out")
    try:
        job = Job.read_json(given.job)
        found = measure_size(job) if given.count_only else measure(job, read_site(given.site))
        if given.find_batch and not given.count_only:
            found = replace(found, largest_batch=largest_batch(job, torch.device(found.device)))
    except RadfedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
