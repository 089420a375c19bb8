"""Measure a job on this machine: size of its model, speed of its steps, memory. Prints one line of JSON.

``python -m radfed.training.measure --job job.json --site site.yaml``, a process of its own for those who must not load
torch themselves. Steps are taken on the site's own cases, or on random patches when there are none.
``--count-only`` leaves the steps out.
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
import torch

from radfed.dataset.layout import Dataset
from radfed.errors import RadfedError
from radfed.job import Job
from radfed.site.config import SiteSettings, read_site
from radfed.training.device import choose_device, claim_threads
from radfed.training.networks import build_network
from radfed.training.samples import Sample, load_samples
from radfed.training.trainer import SegmentationTrainer

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
    trainer = SegmentationTrainer(
        job.task, job.job.training, site.name, federation.rounds * federation.local_steps, device
    )
    speed = _speed(trainer, training or [_random_sample(job)])
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


def _speed(trainer: SegmentationTrainer, samples: Sequence[Sample]) -> float:
    """Optimiser steps per second."""
    trainer.train(samples, 0, _WARM_UP)
    started = time.monotonic()
    trained = 0
    while trained < _MOST and time.monotonic() - started < _SECONDS:
        # Reading the loss waits for the device, so the clock shows the whole step.
        trainer.train(samples, _WARM_UP + trained, 1)
        trained += 1
    return trained / (time.monotonic() - started)


def _samples(job: Job, site: SiteSettings) -> tuple[list[Sample], list[Sample]]:
    if site.dataset is None:
        return [], []
    dataset = Dataset.read(site.dataset)
    return load_samples(dataset, "training", job.task), load_samples(dataset, "validation", job.task)


def _random_sample(job: Job) -> Sample:
    """A made-up case of twice a patch's size, with every label in it."""
    random = np.random.default_rng(0)
    shape = tuple(2 * edge for edge in job.task.roi_size)
    image = random.standard_normal((len(job.task.channels), *shape), dtype=np.float32)
    return Sample("case-random", image, random.integers(0, len(job.task.labels) + 1, shape, dtype=np.uint8))


def _process_peak() -> int:
    """Largest resident memory of this process; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Body of the process; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m radfed.training.measure", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="job.json, as in a FLARE job's config/radfed.json")
    parser.add_argument("--site", type=Path, help="site.yaml or its folder")
    parser.add_argument("--count-only", action="store_true", help="only the size of the model")
    given = parser.parse_args(arguments)
    if given.site is None and not given.count_only:
        parser.error("give --site, or --count-only to leave the steps out")
    try:
        job = Job.read_json(given.job)
        found = measure_size(job) if given.count_only else measure(job, read_site(given.site))
    except RadfedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
