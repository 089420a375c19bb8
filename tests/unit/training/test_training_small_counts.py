"""What a site sends of its test cases holds no count of one or two of them."""

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.training import session
from radfed.training.session import Session


def sent(accuracy: NDArray[np.float64]) -> dict[str, object]:
    """The report of a site whose cases were answered so."""
    values = {"accuracy": accuracy, "brier": np.full(len(accuracy), 0.75)}
    fake = SimpleNamespace(
        trainer=SimpleNamespace(test=lambda _cases: values), dataset=None, job=SimpleNamespace(task=None)
    )
    with patch.object(session, "load_cases", lambda *_: []):
        return Session._test(fake)  # type: ignore[arg-type]  # it needs no more of a session


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [(7, 3, True), (10, 0, True), (0, 10, True), (8, 2, False), (9, 1, False), (2, 8, False)],
)
def test_right_answers_are_counted_only_where_right_and_wrong_are_enough(right: int, wrong: int, told: bool) -> None:
    report = sent(np.array([1.0] * right + [0.0] * wrong))
    labels = report["labels"]
    assert isinstance(labels, dict)
    assert report["cases"] == 10
    assert labels["brier"] == {"total": 7.5, "squares": 5.625}
    assert ("accuracy" in labels) == told


def test_cases_that_were_answered_rightly_in_part_are_wrong_ones() -> None:
    """Of several findings: one case that is not wholly right is one patient, whatever its share."""
    labels = sent(np.array([1.0] * 9 + [0.5]))["labels"]
    assert isinstance(labels, dict)
    assert "accuracy" not in labels
