"""Cases of one plane in the report."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from radfed.imaging.volume import Volume
from radfed.validation.drawing import Picture
from radfed.validation.pictures import draw_case


def pixels(picture: Picture) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(imread(io.BytesIO(base64.b64decode(picture.uri.split(",", 1)[1]))))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_depth_one_is_one_picture(axis: int) -> None:
    """Drawn beside two empty panels it would be a third as wide."""
    mask = np.zeros((60, 60), dtype=np.uint8)
    mask[20:40, 20:40] = 1
    image = np.where(mask, 0.8, 0.2).astype(np.float32)
    flat, label = np.expand_dims(image, axis), np.expand_dims(mask, axis)
    shown = pixels(draw_case(Volume(flat[None], np.diag([0.5, 0.5, 0.5, 1.0])), label, label, (1,), "alt"))
    assert shown.shape[0] > 0.3 * shown.shape[1], "not flattened to a line"
    grey = np.isclose(shown[..., 0], shown[..., 1], atol=0.02) & np.isclose(shown[..., 1], shown[..., 2], atol=0.02)
    body = grey & (shown[..., 0] < 0.95)
    columns = np.flatnonzero(body.any(axis=0))
    rows = np.flatnonzero(body.any(axis=1))
    assert len(columns) == pytest.approx(len(rows), rel=0.15), "a square picture"
    assert len(rows) > 0.6 * shown.shape[0]
