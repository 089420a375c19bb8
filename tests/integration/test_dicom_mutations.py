"""Broken DICOM files through ingest: none may crash it, stop it, swell it, vanish, or harm the cases beside it."""

import json
import os
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from dicom_mutations import make_seeds, mutants  # type: ignore[import-not-found]

from radfed.dataset.check import check
from radfed.dataset.dicom_source import DicomSource
from radfed.dataset.ingest import IngestReport, IngestSettings, ingest_cases, open_dicom
from radfed.dataset.layout import Dataset
from radfed.dataset.pseudonyms import case_pseudonym
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.phantoms_dicom import fake_patient, write_series
from radfed.imaging.volume import Volume

SECRET = b"0123456789abcdef0123456789abcdef"
HEALTHY = 3
MOST_BYTES = 2 * 2**30


class Watch:
    """The largest memory that any process below this one ever held (bytes)."""

    def __init__(self) -> None:
        self.largest = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                self.largest = max(self.largest, _high_water(process.pid))


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def write_source(folder: Path, seeds: Path, count: int) -> int:
    """Mutated groups, a folder each, and a few healthy series; how many files there are."""
    written = 0
    for number, (_, files) in enumerate(mutants(make_seeds(seeds), count)):
        group = folder / f"{number:04}"
        group.mkdir(parents=True)
        for index, data in enumerate(files):
            (group / f"{index}.dcm").write_bytes(data)
        written += len(files)
    for number in range(HEALTHY):
        values = np.random.default_rng(number + 100).integers(0, 900, size=(1, 40, 36, 6)).astype(np.int16)
        volume, patient = Volume(values, np.diag([-1.0, -1.0, 2.0, 1.0])), fake_patient(np.random.default_rng(number))
        written += len(write_series(folder / f"healthy-{number}", volume, "ct", patient, seed=1000 + number))
    return written


def raw_ids(source: DicomSource, root: Path) -> dict[str, str]:
    """What needs an answer, as the source names it, and what it is."""
    answers = {case.id: "series" for case in source.selection.cases}
    answers |= {study.id: "study" for study in source.selection.refused}
    answers |= {str(broken.path.relative_to(root)): "broken" for broken in source.index.broken}
    return answers | {str(label.path.relative_to(root)): "label" for label in source.labels if not label.series}


@pytest.mark.parametrize("count", [300, pytest.param(3000, marks=pytest.mark.slow)])
def test_each_broken_file_is_a_case_or_a_quarantine_line_and_the_dataset_is_whole(tmp_path: Path, count: int) -> None:
    root, out = tmp_path / "source", tmp_path / "dataset"
    files = write_source(root, tmp_path / "seeds", count)
    # Text recognition takes a second an image and decodes nothing by itself.
    risks = DeidSettings(ocr=False)
    settings = IngestSettings("site-a", SECRET, tmp_path / "pseudonyms.csv", max_refused=1.0, deidentification=risks)
    with Watch() as watch, open_dicom(root, settings) as source:
        report = ingest_cases(source, out, settings)
    assert watch.largest < MOST_BYTES
    _check_nothing_vanished(source, report, root, out, files)
    _check_whole(out)
    for number in range(HEALTHY):
        (series,) = (one.id for one in source.index.series if one.first.path.parent == root / f"healthy-{number}")
        assert case_pseudonym(SECRET, series) in {case.id for case in Dataset.read(out).cases}


def _check_nothing_vanished(source: DicomSource, report: IngestReport, root: Path, out: Path, files: int) -> None:
    index = source.index
    shared = Counter(instance.path for series in index.series for instance in series.instances)
    assert len(shared) + len(index.objects) + len(index.broken) + index.foreign + index.duplicates == files
    lines = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    answered = {case.id for case in Dataset.read(out).cases} | {line["id"] for line in lines}
    expected = raw_ids(source, root)
    silent = {raw: kind for raw, kind in expected.items() if case_pseudonym(SECRET, raw) not in answered}
    assert not silent
    assert report.cases + report.quarantined == len(answered) == len(expected)


def _check_whole(out: Path) -> None:
    dataset = Dataset.read(out)
    assert check(dataset).problems == ()
    listed = {out / name for case in dataset.cases for name in (case.image, case.label) if name}
    assert set(out.rglob("*.nii*")) == listed
    assert not [name for name in os.listdir(out.parent) if name.startswith(".dataset")]
