import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray

from radfed.inference.sliding_window import slide

Array = NDArray[np.float32]


def doubled(windows: Array) -> Array:
    return np.concatenate([windows * 2, -windows], axis=1)


@settings(max_examples=30)
@given(shape=st.tuples(*[st.integers(3, 20)] * 3), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_blending_a_pointwise_network_changes_nothing(shape: tuple[int, int, int], overlap: float) -> None:
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    blended = slide(image, doubled, (8, 8, 8), overlap)
    np.testing.assert_allclose(blended, doubled(image[None])[0], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_size_does_not_matter(batch: int) -> None:
    image = np.random.default_rng(1).normal(size=(1, 20, 13, 17)).astype(np.float32)
    np.testing.assert_allclose(slide(image, doubled, (8, 8, 8), 0.5, batch), slide(image, doubled, (8, 8, 8), 0.5))


def test_it_agrees_with_monai() -> None:
    """Where the windows fall at the same places, MONAI's Gaussian blending gives the same logits."""
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 2, 5, padding=2)
    image = np.random.default_rng(2).normal(size=(1, 24, 24, 24)).astype(np.float32)

    def predict(windows: Array) -> Array:
        with torch.no_grad():
            logits: Array = network(torch.from_numpy(windows)).numpy()
        return logits

    ours = slide(image, predict, (16, 16, 16), 0.5)
    theirs = sliding_window_inference(
        torch.from_numpy(image[None]), (16, 16, 16), 4, lambda w: torch.from_numpy(predict(w.numpy())), 0.5, "gaussian"
    )
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=1e-5)
