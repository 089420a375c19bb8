"""Several cases and windows at a time give what one after the other gives."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.inference.threshold_model import threshold_task, write_threshold_model

from radfed.imaging.nifti import read_label, write_image
from radfed.imaging.volume import Volume
from radfed.inference import crew as crews
from radfed.inference.crew import Crew
from radfed.inference.model import OnnxModel
from radfed.inference.predict import predict
from radfed.inference.sliding_window import SideBySide, slide


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_threshold_model(tmp_path / "model.onnx", threshold_task())


def test_windows_side_by_side_are_blended_in_their_order_and_not_all_at_once() -> None:
    image = np.random.default_rng(0).normal(size=(1, 20, 20, 20)).astype(np.float32)
    at_once, most = 0, 0

    def network(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.002)  # as long as others are in here too
        at_once -= 1
        return np.concatenate([windows, np.tanh(windows)], axis=1)

    alone = slide(image, network, (8, 8, 8), 0.5, 1)
    with ThreadPoolExecutor(3) as pool:
        together = slide(image, network, (8, 8, 8), 0.5, 1, SideBySide(pool, 3))
    np.testing.assert_array_equal(together, alone)
    assert 1 < most <= 3


def test_cases_at_a_time_give_the_masks_of_one_after_the_other(tmp_path: Path, model: Path) -> None:
    random = np.random.default_rng(1)
    (tmp_path / "in").mkdir()
    for number in range(6):
        array = random.integers(0, 100, size=(1, 20 + number, 18, 14)).astype(np.int16)
        write_image(tmp_path / "in" / f"case-{number}.nii.gz", Volume(array, np.diag([1.0, 1.4, 2.2, 1.0])))
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"no image")
    done: list[int] = []
    alone = predict(model, tmp_path / "in", tmp_path / "alone", threads=1)
    together = predict(model, tmp_path / "in", tmp_path / "together", lambda n, total: done.append(n), threads=3)
    assert done == list(range(8))
    assert [(one.name, one.reason, one.volumes_ml) for one in together] == [
        (one.name, one.reason, one.volumes_ml) for one in alone
    ]
    for one in alone:
        if one.mask:
            first, second = (read_label(tmp_path / folder / one.mask).array for folder in ("alone", "together"))
            np.testing.assert_array_equal(first, second)


def test_a_large_case_is_segmented_alone(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(crews, "_LARGE", 2**16)
    opened = OnnxModel.load(model, threads=3)
    large = Volume(np.zeros((1, 32, 32, 32)), np.diag([1.0, 1.5, 2.0, 1.0]))
    small = Volume(np.zeros((1, 8, 8, 8)), np.diag([1.0, 1.5, 2.0, 1.0]))
    with Crew.of(opened, 3) as crew:
        inside = threading.Event()

        def enter() -> None:
            with crew.room_for(small, opened.segmentation):
                inside.set()

        with crew.room_for(large, opened.segmentation):
            other = threading.Thread(target=enter)
            other.start()
            assert not inside.wait(0.2)
        assert inside.wait(5)
        other.join()
