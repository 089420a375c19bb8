from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dicom_files as files  # type: ignore[import-not-found]
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.deid import pixels
from radfed.imaging.deid.pixels import check_pixel_risk, has_text, ocr_installed
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import Instance, read_header

STORAGE = "1.2.840.10008.5.1.4.1.1."
SIDE = 256
OFF = DeidSettings(ocr=False)
needs_ocr = pytest.mark.skipif(not ocr_installed(), reason="needs Tesseract and pytesseract")

Write = Callable[..., Instance]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def one(array: NDArray[np.uint16], name: str = "one", sop_class: str = files.CT, **values: object) -> Instance:
        path = tmp_path / f"{name}.dcm"
        files.dataset(array, sop_class, **values).save_as(path, enforce_file_format=True)
        header = read_header(path)
        assert isinstance(header, Instance)
        return header

    return one


def _tissue(seed: int = 0) -> NDArray[np.uint16]:
    """Something round and noisy."""
    noise = np.random.default_rng(seed).normal(0, 12, (SIDE, SIDE))
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    values: NDArray[np.float64] = 600.0 * (np.hypot(row, column) < 90) + 200 + noise
    return values.clip(0, 4000).astype(np.uint16)


def _written_on(array: NDArray[np.uint16], text: str = "DOE JANE 1970") -> NDArray[np.uint16]:
    picture = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(picture).text((10, 12), text, fill=255, font=ImageFont.load_default(size=22))
    return np.where(np.asarray(picture) > 127, 4000, array).astype(np.uint16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"burned_in": "YES"}, "BurnedInAnnotation YES"),
        ({"sop_class": f"{STORAGE}6.1"}, "ultrasound"),
        ({"sop_class": f"{STORAGE}3.1"}, "ultrasound"),
        ({"sop_class": f"{STORAGE}12.1"}, "angiogram"),
        ({"sop_class": f"{STORAGE}12.2"}, "fluoroscopy"),
        ({"sop_class": f"{STORAGE}7"}, "secondary capture"),
        ({"sop_class": f"{STORAGE}7.2"}, "secondary capture"),
        ({"samples": 3, "photometric": "RGB"}, "colour"),
        ({"photometric": "PALETTE COLOR"}, "colour"),
        ({"image_type": ("DERIVED", "SECONDARY", "SCREEN SAVE")}, "picture of a screen"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, "often holds text"),
        ({"sop_class": f"{STORAGE}1"}, "often holds text"),
        ({"sop_class": f"{STORAGE}1.1"}, "often holds text"),
        ({"bits_allocated": 8}, "often holds text"),
    ],
)
def test_kinds_at_risk_are_refused_by_their_header(write: Write, changes: dict[str, Any], words: str) -> None:
    good = write(_tissue())
    check_pixel_risk([good], OFF)
    with pytest.raises(DataError, match=words) as caught:
        check_pixel_risk([good, replace(good, **changes)], OFF)
    assert caught.value.reason == "burned_in_text"


def test_a_projection_that_says_it_holds_no_text_passes_unsearched(write: Write) -> None:
    check_pixel_risk([replace(write(_tissue()), sop_class=f"{STORAGE}1", burned_in="NO")], OFF)


def test_segmentations_and_contours_are_no_pictures(write: Write) -> None:
    for sop_class in (f"{STORAGE}66.4", f"{STORAGE}481.3"):
        check_pixel_risk([replace(write(_tissue()), sop_class=sop_class, bits_allocated=1)], OFF)


def test_asking_for_a_search_without_tesseract_is_an_error(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "ocr_installed", lambda: False)
    with pytest.raises(InvalidInputError, match=r"radfed\[ocr\]"):
        check_pixel_risk([write(_tissue())], DeidSettings(ocr=True))


def test_a_scan_without_letters_is_not_searched(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    def search(array: NDArray[np.generic]) -> bool:
        searched.append(1)
        return False

    monkeypatch.setattr(pixels, "ocr_installed", lambda: True)
    monkeypatch.setattr(pixels, "has_text", search)
    series = [write(_tissue(seed), f"{seed}", InstanceNumber=seed) for seed in range(7)]
    check_pixel_risk(series, DeidSettings())
    assert not searched
    check_pixel_risk(series, DeidSettings(ocr=True))
    assert len(searched) == pixels.SAMPLED_SLICES
    check_pixel_risk([replace(one, sop_class=f"{STORAGE}1") for one in series], DeidSettings())
    assert len(searched) == pixels.SAMPLED_SLICES + 7


def test_pixels_that_cannot_be_decoded_cannot_be_trusted(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "ocr_installed", lambda: True)
    one = write(_tissue())
    one.path.write_bytes(one.path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cut short") as caught:
        check_pixel_risk([one], DeidSettings())
    assert caught.value.reason == "undecodable"


@needs_ocr
def test_text_is_found_in_pixels() -> None:
    assert has_text(_written_on(_tissue()))
    assert not has_text(_tissue())
    assert not has_text(np.zeros((64, 64), np.uint8))


@needs_ocr
@pytest.mark.parametrize("sop_class", [files.CT, f"{STORAGE}1"])
def test_a_series_with_text_in_a_sampled_slice_is_refused(write: Write, sop_class: str) -> None:
    series = [write(_tissue(seed), f"{seed}", InstanceNumber=seed) for seed in range(4)]
    series.append(write(_written_on(_tissue(5)), "text", InstanceNumber=9))
    with pytest.raises(DataError, match="text was found in the pixels") as caught:
        check_pixel_risk([replace(one, sop_class=sop_class) for one in series], DeidSettings())
    assert caught.value.reason == "burned_in_text"


@needs_ocr
def test_a_capture_passes_only_where_the_site_says_so_and_no_text_is_found(write: Write) -> None:
    clean = replace(write(_tissue(), "clean"), sop_class=f"{STORAGE}7")
    written = replace(write(_written_on(_tissue()), "written"), sop_class=f"{STORAGE}7")
    allowed = DeidSettings(allow_secondary_capture=True)
    check_pixel_risk([clean], allowed)
    with pytest.raises(DataError, match="text was found"):
        check_pixel_risk([written], allowed)
    with pytest.raises(DataError, match="secondary capture"):
        check_pixel_risk([clean], DeidSettings())
    with pytest.raises(DataError, match="often holds text"):
        check_pixel_risk([clean], DeidSettings(allow_secondary_capture=True, ocr=False))
