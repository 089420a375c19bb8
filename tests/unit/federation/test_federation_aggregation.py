from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from radfed.federation.aggregation import Update, aggregate, refusal

Weights = dict[str, NDArray[Any]]


def weights(seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    return {
        "conv.weight": rng.normal(size=(2, 3)).astype(np.float32),
        "norm.running_mean": rng.normal(size=3).astype(np.float32),
        "norm.running_var": rng.uniform(0.1, 2, size=3).astype(np.float32),
        "norm.num_batches_tracked": np.array(seed + 3, dtype=np.int64),
    }


cases = st.lists(st.integers(1, 500), min_size=1, max_size=5)


@given(cases)
def test_parameters_are_averaged_by_cases(counts: list[int]) -> None:
    updates = [Update(f"s{i}", weights(i), count) for i, count in enumerate(counts)]
    expected = np.average([u.weights["conv.weight"] for u in updates], axis=0, weights=counts)
    np.testing.assert_allclose(aggregate(updates)["conv.weight"], expected, rtol=1e-5)


@given(cases, st.randoms())
def test_the_order_of_arrival_does_not_matter(counts: list[int], random: Any) -> None:  # noqa: ANN401
    updates = [Update(f"s{i}", weights(i), count) for i, count in enumerate(counts)]
    shuffled = random.sample(updates, len(updates))
    for name, array in aggregate(updates).items():
        np.testing.assert_array_equal(array, aggregate(shuffled)[name])


@given(st.integers(1, 300), st.integers(0, 50))
def test_equal_updates_stay_as_they_are(count: int, seed: int) -> None:
    same = aggregate([Update("a", weights(seed), count), Update("b", weights(seed), 2 * count)])
    for name, array in weights(seed).items():
        np.testing.assert_allclose(same[name], array, rtol=1e-6)
        assert same[name].dtype == array.dtype


def test_batch_norm_statistics_are_those_of_all_samples_together() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(3, 2, size=40), rng.normal(-1, 0.5, size=10)]
    updates = [
        Update(
            f"s{i}",
            {"n.running_mean": np.array([g.mean()]), "n.running_var": np.array([g.var()])},
            len(g),
        )
        for i, g in enumerate(groups)
    ]
    together = aggregate(updates)
    everything = np.concatenate(groups)
    np.testing.assert_allclose(together["n.running_mean"], everything.mean())
    np.testing.assert_allclose(together["n.running_var"], everything.var())


def test_counters_stay_integers() -> None:
    counter = aggregate([Update("a", weights(1), 10), Update("b", weights(5), 1)])["norm.num_batches_tracked"]
    assert counter.dtype == np.int64
    assert counter == 8


def test_nothing_cannot_be_aggregated() -> None:
    with pytest.raises(ValueError, match="nothing to aggregate"):
        aggregate([])
    with pytest.raises(ValueError, match="nothing to aggregate"):
        aggregate([Update("a", weights(0), 0)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"conv.weight": np.full((2, 3), np.nan, dtype=np.float32)}, "not_finite"),
        ({"conv.weight": np.zeros((3, 2), dtype=np.float32)}, "other_shapes"),
        ({"conv.weight": np.zeros((2, 3), dtype=np.float64)}, "other_types"),
        ({"conv.weight": "text"}, "other_shapes"),
        ({"extra": np.zeros(1)}, "other_names"),
        ({}, None),
    ],
)
def test_unfit_updates_are_refused_by_code(change: dict[str, Any], reason: str | None) -> None:
    assert refusal(weights(0) | change, weights(1)) == reason
