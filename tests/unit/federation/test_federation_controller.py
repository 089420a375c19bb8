from pathlib import Path

import numpy as np
import pytest

from radfed.federation.controller import FederatedAveraging
from radfed.ledger import Ledger, RoundLine, SiteLine, conclude
from radfed.weights import load_weights, weights_digest


@pytest.mark.parametrize(
    ("metrics", "best"), [([0.5, 0.9, 0.8], 2), ([0.5, 0.7, 0.7], 3), ([None, None, None], 3), ([None, 0.1, None], 2)]
)
def test_the_model_kept_is_the_one_that_the_ledger_calls_best(
    tmp_path: Path, metrics: list[float | None], best: int
) -> None:
    controller = FederatedAveraging(persistor_id="")
    controller._folder, controller._ledger = tmp_path, Ledger(tmp_path / "ledger.jsonl")
    for number, metric in enumerate(metrics, start=1):
        model = {"w": np.full(2, number, dtype=np.float32)}
        line = RoundLine(
            round=number, digest=weights_digest(model), accepted=1, metric=None, metric_cases=0, seconds=1.0
        )
        answers = [SiteLine(round=number, site="a", metric=metric, metric_cases=4 if metric is not None else 0)]
        controller._score(line, answers, model)
    final = conclude(controller._ledger.lines, [], len(metrics))
    assert final.best_round == best
    assert weights_digest(load_weights(tmp_path / "best.safetensors")) == final.digest


def test_the_metric_of_a_round_is_weighted_by_validation_cases(tmp_path: Path) -> None:
    controller = FederatedAveraging(persistor_id="")
    controller._folder, controller._ledger = tmp_path, Ledger(tmp_path / "ledger.jsonl")
    line = RoundLine(round=1, digest="d", accepted=2, metric=None, metric_cases=0, seconds=1.0)
    answers = [
        SiteLine(round=1, site="a", metric=0.5, metric_cases=30),
        SiteLine(round=1, site="b", metric=0.9, metric_cases=10),
        SiteLine(round=1, site="c", metric=None, metric_cases=0),
    ]
    controller._score(line, answers, {"w": np.zeros(1, dtype=np.float32)})
    [written] = controller._ledger.lines
    assert isinstance(written, RoundLine)
    assert written.metric == pytest.approx(0.6)
    assert written.metric_cases == 40
