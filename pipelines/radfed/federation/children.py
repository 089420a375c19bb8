"""Work of the server that needs torch, in processes of their own: FLARE's server job stays small and survives it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from radfed.cores import thread_environment
from radfed.errors import FederationError
from radfed.federation.store import JOB, RELEASE, RELEASE_RESULT, CampaignStore
from radfed.files import put_text
from radfed.weights import load_weights

_INITIAL = "initial.safetensors"
_LOOK = 0.2
_MOST_SECONDS = 3600.0


def initial_model(store: CampaignStore, stop: Callable[[], bool]) -> dict[str, NDArray[Any]]:
    """The weights that the training begins with, from the job's seed.

    Args:
        store: of the campaign.
        stop: looked at while waiting; True ends the work.

    Raises:
        FederationError: the network could not be built.
    """
    out = store.folder / _INITIAL
    code, _, errors = _run(store, stop, "-m", "radfed.training.initial", str(store.folder / JOB), str(out))
    if code:
        raise FederationError(f"the network could not be built: {_last_line(errors)}")
    return load_weights(out)


def build_release(store: CampaignStore, stop: Callable[[], bool]) -> str:
    """Export the campaign's best model through the gate and package it, as ``radfed release build`` does by hand.

    The campaign has ended whatever becomes of the release; what the command said is kept beside it.

    Returns:
        What happened, in a line.

    Raises:
        FederationError: ``stop`` ended it; the next FLARE job of the campaign builds it.
    """
    releases = store.folder / RELEASE
    for cut_short in releases.glob(".*"):
        shutil.rmtree(cut_short)
    if any(releases.glob("[!.]*/SHA256SUMS")):
        result: dict[str, object] = {"ok": True}
    else:
        words = ("-m", "radfed", "release", "build", str(store.folder), "--out", str(releases), "--json")
        code, output, errors = _run(store, stop, *words)
        result = {"ok": code == 0} | _said(output, errors, code)
    put_text(store.folder / RELEASE_RESULT, json.dumps(result) + "\n")
    return "the release is built" if result["ok"] else f"no release: {result.get('error')}"


def _said(output: str, errors: str, code: int) -> dict[str, object]:
    try:
        said = json.loads(output)
    except json.JSONDecodeError:
        return {"error": _last_line(errors), "exit_code": code}
    return {key: value for key, value in said.items() if key != "release"}  # a path of this machine


def _run(store: CampaignStore, stop: Callable[[], bool], *arguments: str) -> tuple[int, str, str]:
    """Run Python; no argument is text of a job. The child holds the campaign for as long as it lives.

    Returns:
        Exit code, stdout, stderr.

    Raises:
        FederationError: ``stop``, or the time is over.
    """
    environment = os.environ | thread_environment(1) | {"PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=out,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=(store.lock,),
            start_new_session=True,
        )
        deadline = time.monotonic() + _MOST_SECONDS
        while child.poll() is None:
            if stop() or time.monotonic() > deadline:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                raise FederationError(f"{arguments[1]} was ended before it was done")
            time.sleep(_LOOK)
        return child.returncode, _text(out), _text(errors)


def _text(file: Any) -> str:  # noqa: ANN401 - tempfile's type has no public name
    file.seek(0)
    return str(file.read().decode("utf-8", errors="replace"))


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][-300:] if lines else "no message"
