"""Real files with names in their pixels, and real scanners' files against the validator."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from radfed.imaging.deid.engine import Deidentifier
from radfed.imaging.deid.pixels import has_text, ocr_installed
from radfed.imaging.deid.residual import check_residual, identifying_values, residual_hits
from radfed.imaging.deid.run import deidentify
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import Instance, read_header
from radfed.imaging.dicom.index import dicom_files

DATA = os.environ.get("RADFED_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="RADFED_DATA does not name the folder of real data")
FOLDERS = (
    "dicom_nih_ge_siemens",
    "dicom_enhanced",
    "dicom_siemens_mosaic_compressed",
    "dicom_ge_ct_gantry_tilt",
    "dicom_ct_liver_seg",
    "dicom_ct_phantom_rtstruct",
)
SECRET = b"real" * 8


def _folder(name: str) -> Path:
    assert DATA is not None
    folder = Path(DATA) / name
    if not folder.is_dir():
        pytest.skip(f"RADFED_DATA has no {name}")
    return folder


@pytest.mark.parametrize("settings", [DeidSettings(), DeidSettings(ocr=False)], ids=["with-ocr", "without-ocr"])
def test_every_file_with_names_in_its_pixels_is_quarantined(tmp_path: Path, settings: DeidSettings) -> None:
    report = deidentify(_folder("dicom_burned_in_phi"), tmp_path / "out", SECRET, settings, lambda pairs: None)
    assert report.written == 0
    assert report.reasons == {"archive": 1, "burned_in_text": 5}
    assert not list((tmp_path / "out").rglob("*.dcm"))
    lines = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert len(lines) == 6


@pytest.mark.skipif(not ocr_installed(), reason="needs Tesseract and pytesseract")
def test_the_names_in_real_ultrasounds_are_read() -> None:
    for name in ("GREYSCALE_IMAGE.dcm", "RGB_IMAGE.dcm"):
        assert has_text(pydicom.dcmread(_folder("dicom_burned_in_phi") / "ultrasounds" / name).pixel_array)


def _one_of_each_series() -> Iterator[Path]:
    for name in FOLDERS:
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for path in dicom_files(_folder(name)):
            header = read_header(path)
            if isinstance(header, Instance) and (header.series, header.image_type) not in seen:
                seen.add((header.series, header.image_type))
                yield path


def test_real_files_stay_valid_lose_every_identifier_and_keep_their_pixels(tmp_path: Path) -> None:
    engine = Deidentifier(SECRET, DeidSettings())
    count = 0
    for path in _one_of_each_series():
        source = pydicom.dcmread(path, force=True)
        clean = engine(source)
        values = identifying_values(source)
        assert residual_hits(source, values)
        check_residual(clean, values)
        assert clean.get("PixelData") == source.get("PixelData")
        clean.file_meta = pydicom.dataset.FileMetaDataset()
        clean.file_meta.TransferSyntaxUID = source.file_meta.get(
            "TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian
        )
        written = tmp_path / f"{count}.dcm"
        clean.save_as(written, enforce_file_format=True)
        new, old = _errors(written), _errors(path)
        assert not new - old, new - old
        count += 1
    assert count >= 20


def _errors(path: Path) -> set[str]:
    """Lines of dciodvfy that are errors, without the values in them."""
    program = Path(sys.executable).with_name("dciodvfy")
    done = subprocess.run([program, "-new", path], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    return {re.sub(r"<[^<>/][^<>]*>", "<>", line) for line in lines if line.startswith("Error")}
