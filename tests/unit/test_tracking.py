import sys
from pathlib import Path

import pytest

from radfed.errors import InvalidInputError
from radfed.ledger import FinalLine, LinkLine, RoundLine, ScoreLine, SiteLine
from radfed.task import Measure
from radfed.workflow.tracking import MLFLOW_ADDRESS, scalars, track

BRIER = Measure.ONE_MINUS_BRIER
LINES = (
    LinkLine(link=1, job_id="j", sites=("north",), required=("north",), first_round=1, measure=BRIER),
    SiteLine(round=1, site="north", answered=True, accepted=True, weight=4, loss=0.5, metric=0.6, train_seconds=2.0),
    SiteLine(round=1, site="south", asked=True, reason="no_answer"),
    RoundLine(round=1, digest="d", accepted=1, seconds=3.0),
    ScoreLine(round=1, metric=0.7, metric_cases=5),
    FinalLine(outcome="COMPLETED"),
)


def test_numbers_are_named_for_site_and_round_and_absent_ones_are_left_out() -> None:
    assert scalars(LINES[1], BRIER) == {
        "site/north/accepted": 1.0,
        "site/north/loss": 0.5,
        "site/north/train_seconds": 2.0,
        "site/north/bytes": 0.0,
        "site/north/one_minus_brier_of_model_received": 0.6,
        "site/north/restarts": 0.0,
    }
    assert scalars(LINES[2], BRIER) == {"site/south/accepted": 0.0}
    assert scalars(LINES[3], BRIER) == {"round/accepted": 1.0, "round/seconds": 3.0}
    assert scalars(LINES[4], BRIER) == {"round/validation_one_minus_brier": 0.7}
    assert scalars(LINES[4], Measure.DICE) == {"round/validation_dice": 0.7}
    assert scalars(LINES[5], BRIER) == {}


@pytest.mark.parametrize(
    ("tracker", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow.tracking")]
)
def test_a_tracker_that_is_missing_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(InvalidInputError, match=rf"pip install 'radfed\[{tracker}\]'"),
        track(tracker, tmp_path, "c", "http://localhost:1"),  # type: ignore[arg-type] # one of the two
    ):
        pass


def test_mlflow_needs_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MLFLOW_ADDRESS, raising=False)
    with pytest.raises(InvalidInputError, match="give --track-to"), track("mlflow", tmp_path, "c"):
        pass


def test_tensorboard_holds_every_number(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with track("tensorboard", tmp_path, "c") as take:
        for line in LINES:
            take(line)
    written = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    written.Reload()
    expected = {name: value for line in LINES for name, value in scalars(line, BRIER).items()}
    assert set(written.Tags()["scalars"]) == set(expected)
    for name, value in expected.items():
        [event] = written.Scalars(name)
        assert (event.step, event.value) == (1, pytest.approx(value))


def test_mlflow_holds_every_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    # The client's own plain files stand in for a server, which takes far more than the client.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    address = tmp_path.as_uri()
    with track("mlflow", tmp_path, "trial", address) as take:
        for line in LINES:
            take(line)
    client = tracking.MlflowClient(tracking_uri=address)
    [run] = client.search_runs([client.get_experiment_by_name("radfed").experiment_id])
    assert run.info.run_name == "trial"
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {name: value for line in LINES for name, value in scalars(line, BRIER).items()}
