import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radfed.imaging import order
from radfed.imaging.order import copy_voxels, in_c_order

ORDERS = tuple(itertools.permutations(range(3)))


def stored(seed: int, shape: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray:
    """An array of the shape whose axes lie in memory in the given order, partly backwards."""
    back = np.argsort(axes)
    array = np.random.default_rng(seed).integers(-1000, 1000, size=[shape[axis] for axis in axes], dtype=np.int16)
    return array[:, ::-1].transpose(back)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 99),
    st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from(ORDERS),
    st.sampled_from(ORDERS),
)
def test_copy_is_assignment_in_every_order(
    seed: int, shape: tuple[int, ...], axes_in: tuple[int, ...], axes_out: tuple[int, ...]
) -> None:
    source = stored(seed, shape, axes_in)
    target = stored(seed + 1, shape, axes_out).astype(np.float32)
    copy_voxels(target, source)
    np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("planes", [1, 4, 100])
def test_blocks_are_the_array_in_c_order(axes: tuple[int, ...], planes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_BLOCK_BYTES", planes * 5 * 6 * 4)
    source = stored(3, (9, 5, 6), axes)
    blocks = list(in_c_order(source, np.dtype("<f4")))
    assert all(block.flags.c_contiguous and block.dtype == "<f4" and len(block) <= planes for block in blocks)
    assert len(blocks) == -(-9 // planes)
    assert b"".join(block.tobytes() for block in blocks) == source.astype("<f4").tobytes("C")
