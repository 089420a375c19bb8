"""Work of the server that needs torch, in processes of their own: FLARE's server job stays small and survives it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from radfed.cores import thread_environment
from radfed.errors import FederationError
from radfed.federation.store import RELEASE, RELEASE_RESULT
from radfed.job import Job
from radfed.weights import load_weights

_JOB, _INITIAL = ".initial.json", "initial.safetensors"


def initial_model(job: Job, folder: Path) -> dict[str, NDArray[Any]]:
    """The weights that the training begins with, from the job's seed.

    Raises:
        FederationError: the network could not be built.
    """
    job.write_json(folder / _JOB)
    done = _run("-m", "radfed.training.initial", str(folder / _JOB), str(folder / _INITIAL))
    if done.returncode:
        raise FederationError(f"the network could not be built: {_last_line(done.stderr)}")
    return load_weights(folder / _INITIAL)


def build_release(folder: Path) -> str:
    """Export the campaign's best model through the gate and package it, as ``radfed release build`` does by hand.

    The campaign has ended whatever becomes of the release; what the command printed is kept beside it.

    Returns:
        What happened, in a line.
    """
    if any((folder / RELEASE).glob("*/model.onnx")):
        return "the release is built"
    done = _run("-m", "radfed", "release", "build", str(folder), "--out", str(folder / RELEASE), "--json")
    try:
        result = json.loads(done.stdout)
    except json.JSONDecodeError:
        result = {"error": _last_line(done.stderr), "exit_code": done.returncode}
    result = {"ok": done.returncode == 0, **{k: v for k, v in result.items() if k != "release"}}
    (folder / RELEASE_RESULT).write_text(json.dumps(result) + "\n", encoding="utf-8")
    return "the release is built" if result["ok"] else f"no release: {result.get('error')}"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | thread_environment(1) | {"PYTHONWARNINGS": "ignore"}
    # Not text of a job: every argument is one of this package's own.
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][-300:] if lines else "no message"
