"""When the listener takes results that lie there, and when it makes others."""

from pathlib import Path

import numpy as np
from pydicom import dcmread
from tests.unit.inference.threshold_model import threshold_task, write_threshold_model

from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.inference.listener.study import Name
from radfed.inference.listener.work import Worker
from radfed.inference.model import OnnxModel

STUDY = "0123456789abcdef0123456789abcdef"


def queued(source: Path, folder: Path) -> Path:
    """A study's folder as the queue keeps it."""
    folder.mkdir()
    for path in source.glob("*.dcm"):
        content = path.read_bytes()
        name = Name.of(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID), "1.2.840.10008.1.2.1", content)
        (folder / name.file).write_bytes(content)
    return folder


def test_other_bytes_under_the_same_uids_and_other_options_have_results_of_their_own(tmp_path: Path) -> None:
    array = np.zeros((1, 18, 12, 6), dtype=np.int16)
    array[0, 3:9, 4:7, 1:-1] = 90
    volume = Volume(array, np.diag([1.0, 1.5, 2.0, 1.0]))
    files = write_series(tmp_path / "in", volume, Flavour.CT, fake_patient(np.random.default_rng(0)), seed=0)
    model = OnnxModel.load(write_threshold_model(tmp_path / "model.onnx", threshold_task()), threads=1)
    first = queued(tmp_path / "in", tmp_path / "first")
    changed = dcmread(files[2])
    pixels = changed.pixel_array.copy()
    pixels[:2] += 50
    changed.PixelData = pixels.tobytes()
    changed.save_as(files[2])
    second = queued(tmp_path / "in", tmp_path / "second")
    results = tmp_path / "results"
    worker = Worker(model, results, ReadOptions())
    made = [worker.segment(STUDY, folder) for folder in (first, first, second)]
    made.append(Worker(model, results, ReadOptions(interpolate_gaps=1)).segment(STUDY, first))
    assert [one.reason for one in made] == [None] * 4
    assert made[0].results == made[1].results
    assert len({one.results for one in made}) == 3
    segs = [dcmread(path) for one in (made[0], *made[2:]) for path in worker.files(one) if ".seg." in path.name]
    assert len({seg.SOPInstanceUID for seg in segs}) == 3
