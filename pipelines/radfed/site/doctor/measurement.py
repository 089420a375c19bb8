"""How large a job's model is and how fast it trains here: measured by a process of its own, which may use torch."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import Field, ValidationError

from radfed.errors import RadfedError
from radfed.job import Job
from radfed.settings import Settings

_COMMAND = "radfed.training.measure"


class Measurement(Settings):
    """What a few optimiser steps on this machine cost. Sizes in bytes, times in seconds."""

    parameters: int = Field(description="Trainable numbers of the network")
    bytes: int = Field(description="Size of all weights and buffers, which is what travels")
    steps_per_second: float | None = Field(default=None, description="Optimiser steps, after a first one to warm up")
    seconds_per_epoch: float | None = Field(default=None, description="Every training case once; needs a dataset")
    evaluation_seconds: float | None = Field(default=None, description="All validation cases; needs a dataset")
    peak_memory_bytes: int = Field(description="Largest use: of the GPU's memory on CUDA, else of the process")
    gpu_memory_bytes: int | None = Field(default=None, description="Free on the GPU before the measurement")
    gpu_total_bytes: int | None = Field(default=None, description="Of the GPU as a whole")
    device: str = Field(default="cpu", description="Where the steps ran")
    largest_batch: int | None = Field(default=None, description="Cases in a step that the memory holds, if looked for")


class MeasurementError(RadfedError):
    """The job could not be measured here; it would not train here either."""

    reason = "measurement_failed"


def measure(job: Job, site_file: Path, find_batch: bool = False, patience: float = 600.0) -> Measurement:
    """Build the job's network and take a few steps, in another process.

    Args:
        job: what to measure.
        site_file: the site's ``site.yaml``, which says on what data and device.
        find_batch: also look for the largest batch that the memory holds.
        patience: seconds after which the process is stopped.

    Raises:
        MeasurementError: the process failed, or took too long.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "job.json"
        job.write_json(file)
        command = [sys.executable, "-m", _COMMAND, "--job", str(file), "--site", str(site_file)]
        command += ["--find-batch"] if find_batch else []
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=patience, env=os.environ | {"PYTHONWARNINGS": "ignore"}
            )
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(f"a few training steps took longer than {patience:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise MeasurementError(lines[-1].strip() if lines else f"the process ended with code {done.returncode}")
    try:
        return Measurement.model_validate(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, ValidationError) as error:
        raise MeasurementError(f"{_COMMAND} printed no measurement") from error
