"""From the results that FLARE keeps of a job to the run folder, checked against the ledger."""

import os
import shutil
from pathlib import Path

from radfed.errors import FederationError, GateError
from radfed.federation.store import BEST, LEDGER, RELEASE_RESULT, RESULTS
from radfed.ledger import FinalLine, final_of, read_ledger
from radfed.weights import load_weights, weights_digest


def has_all(results: Path) -> bool:
    """Whether the results of a campaign that ended are whole: no release is still to be built."""
    final = final_of(read_ledger(results / LEDGER))
    return final is not None and (final.outcome == "FAILED" or (results / RELEASE_RESULT).is_file())


def collect(results: Path, run: Path) -> FinalLine:
    """Move a campaign's results into the run folder; the ledger comes last, and replaces what was seen live.

    Args:
        results: the ``radfed/`` folder of a FLARE job; it is gone afterwards.
        run: the run folder.

    Raises:
        FederationError: the campaign has not ended.
        GateError: the model is not the one that the ledger names. Nothing was moved.
    """
    final = final_of(read_ledger(results / LEDGER))
    if final is None:
        raise FederationError("the campaign has not ended; its results come when it has")
    _check_model(results / BEST, final)
    run.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:
        if (results / name).exists():
            put_in_place(results / name, run / name)
    shutil.rmtree(results)
    return final


def _check_model(model: Path, final: FinalLine) -> None:
    if final.digest is None:
        return
    if not model.is_file():
        raise GateError(f"{BEST} is missing, and the ledger names a best model (digest {final.digest[:16]}...)")
    got = weights_digest(load_weights(model))
    if got != final.digest:
        raise GateError(
            f"{BEST} has digest {got[:16]}..., the ledger says {final.digest[:16]}...; "
            "fetch it again, and if it stays so ask who runs the server"
        )


def put_in_place(source: Path, target: Path) -> None:
    """Put a file or a folder in its place whole."""
    if not source.is_dir():
        os.replace(source, target)
        return
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(source, target)
    shutil.rmtree(old, ignore_errors=True)
