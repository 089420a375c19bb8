"""A campaign's numbers in TensorBoard or MLflow, from the lines of the ledger: what a round led to, and each site."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Literal

from radfed.errors import InvalidInputError
from radfed.ledger import Line, LinkLine, RoundLine, ScoreLine, SiteLine
from radfed.task import Measure

Tracker = Literal["tensorboard", "mlflow"]
Write = Callable[[str, float, int], None]
"""A name, a value, and the round that it belongs to."""

MLFLOW_ADDRESS = "MLFLOW_TRACKING_URI"
"""MLflow's own environment variable."""
TENSORBOARD_FOLDER = "tensorboard"
"""Where in a run folder TensorBoard's files lie by default."""


@contextmanager
def track(tracker: Tracker, run: Path, campaign: str, to: str | None = None) -> Iterator[Callable[[Line], None]]:
    """Open a tracker for a campaign's lines.

    Args:
        tracker: which.
        run: the run folder.
        campaign: names the run in MLflow.
        to: another folder for TensorBoard than ``tensorboard/`` in the run folder; the address of an MLflow server.

    Yields:
        What takes each line of the ledger.

    Raises:
        InvalidInputError: the tracker is not installed, or MLflow has no address.
    """
    if tracker == "mlflow":
        # MLflow 3 no longer writes plain files, and its databases need far more than its client.
        address = to or os.environ.get(MLFLOW_ADDRESS)
        if not address:
            raise InvalidInputError(
                f"--track mlflow: needs a server's address; give --track-to http://HOST:PORT, or set {MLFLOW_ADDRESS}"
            )
        opened = _mlflow(address, campaign)
    else:
        opened = _tensorboard(to or str(run / TENSORBOARD_FOLDER))
    with opened as write:
        yield _Teller(write).tell


def scalars(line: Line, measure: Measure) -> dict[str, float]:
    """The numbers of a line, by name; no name says more of a site than the ledger does.

    Args:
        line: of the ledger.
        measure: what its metric is.
    """
    match line:
        case SiteLine():
            numbers = {
                "accepted": float(line.accepted),
                "loss": line.loss,
                f"{measure}_of_model_received": line.metric,
                "answer_seconds": line.seconds,
                "train_seconds": line.train_seconds,
                "bytes": float(line.bytes) if line.answered else None,
                "update_norm": line.norm,
                "restarts": float(line.restarts) if line.answered else None,
            }
            return {f"site/{line.site}/{name}": value for name, value in numbers.items() if value is not None}
        case RoundLine():
            return {"round/accepted": float(line.accepted), "round/seconds": line.seconds}
        case ScoreLine():
            return {} if line.metric is None else {f"round/validation_{measure}": line.metric}
        case _:
            return {}


class _Teller:
    """Hands numbers on under the name of what the campaign measures, which its first line says."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._measure = Measure.SCORE

    def tell(self, line: Line) -> None:
        if isinstance(line, LinkLine):
            self._measure = line.measure
        elif isinstance(line, SiteLine | RoundLine | ScoreLine):
            for name, value in scalars(line, self._measure).items():
                self._write(name, value, line.round)


@contextmanager
def _tensorboard(folder: str) -> Iterator[Write]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise _not_installed("tensorboard") from error
    # A driver that goes on where it was killed writes the same numbers again into a second file; TensorBoard takes the
    # later of two values of a step.
    writer = SummaryWriter(folder)
    try:
        yield lambda name, value, step: writer.add_scalar(name, value, step)
    finally:
        writer.close()


@contextmanager
def _mlflow(address: str, campaign: str) -> Iterator[Write]:
    try:
        client = import_module("mlflow.tracking").MlflowClient(tracking_uri=address)
    except ImportError as error:
        raise _not_installed("mlflow") from error
    known = client.get_experiment_by_name("radfed")
    experiment = known.experiment_id if known else client.create_experiment("radfed")
    run = client.create_run(experiment, run_name=campaign)
    status = "FAILED"
    try:
        yield lambda name, value, step: client.log_metric(run.info.run_id, name, value, step=step)
        status = "FINISHED"
    finally:
        client.set_terminated(run.info.run_id, status=status)


def _not_installed(tracker: Tracker) -> InvalidInputError:
    return InvalidInputError(f"--track {tracker}: is not installed here; run: pip install 'radfed[{tracker}]'")
