"""Models with one answer a case: headers, logits, probabilities, decisions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_model import (  # type: ignore[import-not-found]
    CLASSES,
    FINDINGS,
    linear_weights,
    outcome_task,
    write_linear_model,
)
from threshold_model import threshold_task, write_threshold_model  # type: ignore[import-not-found]

from radfed.errors import InvalidInputError, RadfedError
from radfed.inference.header import COVARIATES, INPUT, inputs_of
from radfed.inference.model import OnnxModel
from radfed.inference.outcome import decide, probabilities
from radfed.task import OutcomeTask

KINDS = [(True, False), (False, True), (True, True)]


@pytest.fixture(scope="module", params=KINDS, ids=["image", "record", "both"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    task = outcome_task(*request.param)
    return OnnxModel.load(write_linear_model(tmp_path_factory.mktemp("m") / "m.onnx", task), threads=1)


def batch_of(
    task: OutcomeTask, cases: int, seed: int = 0
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal((cases, *shape)).astype(np.float32) for name, shape in inputs_of(task).items()}


def test_answers_as_the_weights_say(model: OnnxModel) -> None:
    task = model.outcome
    given_ = batch_of(task, 5)
    weights = linear_weights(task)
    expected = sum(value.reshape(5, -1) @ weights[name] for name, value in given_.items())
    np.testing.assert_allclose(model.answer(**given_), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(cases=st.integers(2, 9), seed=st.integers(0, 1000))
def test_a_batch_equals_its_cases_one_by_one(model: OnnxModel, cases: int, seed: int) -> None:
    given_ = batch_of(model.outcome, cases, seed)
    together = probabilities(model.answer(**given_), model.outcome)
    singly = [
        probabilities(model.answer(**{k: v[i : i + 1] for k, v in given_.items()}), model.outcome) for i in range(cases)
    ]
    np.testing.assert_allclose(together, np.concatenate(singly), atol=1e-5)


def test_what_the_contract_does_not_take_is_our_error(model: OnnxModel) -> None:
    given_ = batch_of(model.outcome, 2)
    with pytest.raises(RadfedError, match="was given neither images nor records"):
        model.answer()
    for name, value in given_.items():
        with pytest.raises(RadfedError, match="the model failed on cases of shape"):
            model.answer(**{**given_, name: value[:, :-1] if value.ndim == 2 else value[..., :-1]})
    foreign = {INPUT: np.zeros((2, 1, 8, 6), np.float32), COVARIATES: np.zeros((2, model.outcome.width), np.float32)}
    if set(given_) != set(foreign):
        with pytest.raises(RadfedError, match="the model failed on cases of shape"):
            model.answer(**foreign)


def test_a_model_is_not_asked_for_what_it_does_not_give(model: OnnxModel, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="gives no masks"):
        model(np.zeros((1, 1, 4, 4, 4), np.float32))
    masks = OnnxModel.load(write_threshold_model(tmp_path / "m.onnx", threshold_task()), threads=1)
    with pytest.raises(InvalidInputError, match="gives masks, no answers"):
        masks.answer(np.zeros((1, 1, 8, 6), np.float32))


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"image": ["batch", 1, 8, 7]}, r"'image' must be float32 \(B, 1, 8, 6\) with a free B"),
        ({"image": [2, 1, 8, 6]}, "with a free B"),
        ({"image": ["batch", 1, "W", "H"]}, "'image' must be float32"),
        ({"covariates": ["batch", 4]}, r"'covariates' must be float32 \(B, 5\)"),
        ({"logits": ["batch", 3]}, r"'logits' must be float32 \(B, 2\)"),
    ],
)
def test_a_header_that_is_not_the_contracts_is_refused(
    tmp_path: Path, declared: dict[str, list[object]], says: str
) -> None:
    path = write_linear_model(tmp_path / "m.onnx", outcome_task(True, True), declared)
    with pytest.raises(InvalidInputError, match=says):
        OnnxModel.load(path)


def test_a_network_of_another_kind_than_its_contract_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    path = write_linear_model(tmp_path / "m.onnx", outcome_task(True))
    other = onnx.load(write_linear_model(tmp_path / "o.onnx", outcome_task(False, True)))
    model = onnx.load(path)
    helper.set_model_props(model, {entry.key: entry.value for entry in other.metadata_props})
    onnx.save(model, path)
    with pytest.raises(InvalidInputError, match=r"must have the inputs \['covariates'\].* got \['image'\]"):
        OnnxModel.load(path)


def test_classes_add_up_to_one_and_findings_stand_alone() -> None:
    logits = np.array([[1.0, 3.0], [1000.0, -1000.0]], dtype=np.float32)
    classes = probabilities(logits, outcome_task(True, outcome=CLASSES))
    np.testing.assert_allclose(classes[0, 1], 1 / (1 + np.exp(-2)), atol=1e-9)
    np.testing.assert_allclose(classes.sum(axis=1), 1)
    findings = probabilities(logits, outcome_task(True, outcome=FINDINGS))
    np.testing.assert_allclose(findings[0], 1 / (1 + np.exp(-logits[0])), atol=1e-7)
    np.testing.assert_array_equal(findings[1], [1, 0])
    survival = outcome_task(False, True, {"type": "survival"})
    np.testing.assert_array_equal(probabilities(logits[:, :1], survival), logits[:, :1])


def test_decisions_follow_the_operating_point_where_there_is_one() -> None:
    two, many = outcome_task(True), outcome_task(True, outcome={"type": "multiclass", "classes": ["a", "b", "c"]})
    assert [decide([0.6, 0.4], two), decide([0.6, 0.4], two, {"ill": 0.3})] == ["normal", "ill"]
    assert decide([0.4, 0.6], two, {"ill": 0.7}) == "normal"
    assert decide([0.7, 0.3], two, {"ill": 0.3}) == "ill"
    assert decide([0.2, 0.5, 0.3], many) == "b"
    findings = outcome_task(True, outcome=FINDINGS)
    assert decide([0.6, 0.7], findings) == "effusion;mass"
    assert decide([0.6, 0.7], findings, {"effusion": 0.65}) == "mass"
    assert decide([0.1, 0.2], findings) == ""
    assert decide([2.0], outcome_task(False, True, {"type": "survival"})) == ""
