import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfed.errors import DataError
from radfed.preprocessing.records import encode
from radfed.task import OutcomeTask

COLOURS = ("red", "green", "blue")
TASK = OutcomeTask.check(
    {
        "name": "encode",
        "kind": "tabular",
        "description": "test",
        "intended_use": "test",
        "covariates": [
            {"type": "numeric", "name": "age", "mean": 50, "deviation": 10},
            {"type": "categorical", "name": "colour", "values": list(COLOURS)},
            {"type": "numeric", "name": "crp"},
        ],
        "outcome": {"type": "multiclass", "classes": ["no", "yes"]},
        "network": {},
    },
    source="test",
)
AGE, AGE_MISSING, RED, GREEN, BLUE, COLOUR_MISSING, CRP, CRP_MISSING = range(8)

numbers = st.floats(-1e6, 1e6, allow_nan=False)
records = st.fixed_dictionaries({}, optional={"age": numbers, "colour": st.sampled_from(COLOURS), "crp": numbers})


def test_a_whole_record() -> None:
    encoded = encode({"age": 70.0, "colour": "green", "crp": 3.5}, TASK)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 3.5, 0.0]


def test_an_empty_record_is_missing_everywhere() -> None:
    assert encode({}, TASK).tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]


@given(records)
@settings(deadline=None)
def test_width_and_indicators(record: dict[str, float | str]) -> None:
    encoded = encode(record, TASK)
    assert encoded.shape == (TASK.width,)
    for name, indicator in (("age", AGE_MISSING), ("colour", COLOUR_MISSING), ("crp", CRP_MISSING)):
        assert encoded[indicator] == float(name not in record)
    # Exactly one of a category's numbers is 1: one of the values, or the indicator.
    assert sorted(encoded[RED : COLOUR_MISSING + 1]) == [0.0, 0.0, 0.0, 1.0]


@given(records, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_keys_plays_no_part(record: dict[str, float | str], random: object) -> None:
    keys = list(record)
    random.shuffle(keys)  # type: ignore[attr-defined] # a random.Random
    assert np.array_equal(encode({key: record[key] for key in keys}, TASK), encode(record, TASK))


@given(numbers)
@settings(deadline=None)
def test_scaling_can_be_undone(age: float) -> None:
    scaled = encode({"age": age}, TASK)[AGE]
    assert scaled * 10 + 50 == pytest.approx(age, rel=1e-5, abs=1e-4)


@given(numbers, numbers)
@settings(deadline=None)
def test_one_covariate_leaves_the_others_alone(age: float, other: float) -> None:
    one, two = encode({"age": age, "crp": 1.0}, TASK), encode({"age": other, "crp": 1.0}, TASK)
    assert np.array_equal(one[AGE_MISSING:], two[AGE_MISSING:])


def test_the_mean_is_told_from_a_missing_value() -> None:
    mean, missing = encode({"age": 50.0}, TASK), encode({}, TASK)
    assert mean[AGE] == missing[AGE] == 0.0
    assert mean[AGE_MISSING] != missing[AGE_MISSING]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"age": float("nan")}, "not_a_number"),
        ({"age": float("inf")}, "not_a_number"),
        ({"age": 1e300}, "not_a_number"),
        ({"age": "fifty"}, "not_a_number"),
        ({"colour": "violet"}, "unknown_value"),
        ({"colour": 1.0}, "unknown_value"),
        ({"height": 180.0}, "unknown_value"),
    ],
)
def test_what_does_not_fit_is_refused_without_its_value(record: dict[str, float | str], reason: str) -> None:
    with pytest.raises(DataError, match=r"age|colour|height") as caught:
        encode(record, TASK)
    assert caught.value.reason == reason
    assert "fifty" not in str(caught.value)
    assert "violet" not in str(caught.value)
