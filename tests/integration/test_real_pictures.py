"""Real chest radiographs from PNG files to what a network sees (hannover_covid_cxr, see README, RADFED_DATA)."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radfed.inference.picture_inputs import find_pictures, read_input
from radfed.preprocessing.picture import prepare_image
from radfed.task import OutcomeTask

DATA = Path(os.environ.get("RADFED_DATA") or "nowhere", "hannover_covid_cxr", "png")
SIDE = 128
TASK = {
    "name": "t",
    "kind": "classification",
    "description": "d",
    "intended_use": "i",
    "image": {"channels": [{"name": "chest"}], "size": [SIDE, SIDE], "intensity": {"rule": "zscore"}},
    "outcome": {"type": "multiclass", "classes": ["a", "b"]},
    "network": {"encoder": {"name": "ResNet"}},
}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="hannover_covid_cxr is not under $RADFED_DATA")


def test_every_radiograph_is_what_pillow_makes_of_it() -> None:
    task = OutcomeTask.check(TASK, "test")
    found = find_pictures(DATA, task)
    assert [one.name for one in found] == sorted(path.name for path in DATA.glob("*.png"))
    for one in found:
        volume = read_input(one, task)
        made = prepare_image(volume.array, volume.affine, task)
        assert made.shape == (1, SIDE, SIDE)
        with Image.open(DATA / one.name) as image:
            scale = SIDE / max(image.size)
            columns, rows = (round(side * scale) for side in image.size)
            small = image.convert("F").resize((columns, rows), Image.Resampling.BILINEAR)
        expected = np.asarray(small, dtype=np.float64)
        expected = (expected - expected.mean()) / expected.std()
        left, top = (SIDE - columns) // 2, (SIDE - rows) // 2
        inside = made[0].T[top : top + rows, left : left + columns]
        np.testing.assert_allclose(inside, expected, atol=1e-4)
        outside = np.ones((SIDE, SIDE), dtype=bool)
        outside[top : top + rows, left : left + columns] = False
        assert (made[0].T[outside] == made.min()).all()
