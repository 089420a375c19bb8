"""Which scans may have names or dates in their pixels. Those are refused; nothing is painted over.

Flags and kinds are read from headers. Text is looked for with Tesseract, where it is installed, in every image of a
kind that is often annotated (projections, derived images, captures). The slices of an original CT, MR or PET series
come from a reconstruction and not from a screen: three are looked at, and searched only where the brightest value is
flat, as drawn letters are and measured tissue is not; with ``ocr: true`` the three are searched in any case.
"""

import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.decode import check_length, stored_frames
from radfed.imaging.dicom.header import Instance

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_ALWAYS = {
    f"{_STORAGE}3.1": "an ultrasound",
    f"{_STORAGE}6.1": "an ultrasound",
    f"{_STORAGE}6.2": "an ultrasound",
    f"{_STORAGE}6": "an ultrasound",
    f"{_STORAGE}3": "an ultrasound",
    f"{_STORAGE}12.1": "an angiogram or fluoroscopy",
    f"{_STORAGE}12.2": "an angiogram or fluoroscopy",
    f"{_STORAGE}12.1.1": "an angiogram or fluoroscopy",
    f"{_STORAGE}12.2.1": "an angiogram or fluoroscopy",
}
_CAPTURES = f"{_STORAGE}7"
_RECONSTRUCTED = {
    f"{_STORAGE}2",
    f"{_STORAGE}2.1",
    f"{_STORAGE}2.2",
    f"{_STORAGE}4",
    f"{_STORAGE}4.1",
    f"{_STORAGE}4.4",
    f"{_STORAGE}128",
    f"{_STORAGE}128.1",
    f"{_STORAGE}130",
}
"""CT, MR and PET, classic, enhanced and legacy converted."""
_NO_PICTURES = {f"{_STORAGE}66.4", f"{_STORAGE}66.7", f"{_STORAGE}30", f"{_STORAGE}481.2", f"{_STORAGE}481.3"}
"""Segmentations, parametric maps, doses and contours: computed, never drawn on."""
_GREY = {"", "MONOCHROME1", "MONOCHROME2"}
_CAPTURE_WORDS = {"SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "SCREEN CAPTURE", "CAPTURE", "DISPLAY", "POSDISP"}

SAMPLED_SLICES = 3
_MOST_IMAGES = 50
_FLAT_PIXELS = 15
_MIN_LETTERS = 4
_MIN_CONFIDENCE = 70
_WIDTH = 1024
_TIMEOUT = 30


def check_pixel_risk(instances: Sequence[Instance], settings: DeidSettings) -> None:
    """Refuse a series whose pixels may name the patient.

    Args:
        instances: of one series.
        settings: ``ocr`` and ``allow_secondary_capture``.

    Raises:
        DataError: ``burned_in_text``; ``undecodable``, if an image to search for text cannot be decoded.
        InvalidInputError: the settings ask for OCR, and it is not installed.
    """
    for instance in instances:
        _check_header(instance, settings)
    if settings.ocr is False:
        searchable = False
    elif settings.ocr and not ocr_installed():
        raise InvalidInputError("ocr: true, but Tesseract is not installed; install it and radfed[ocr]")
    else:
        searchable = ocr_installed()
    suspects = [one for one in instances if _is_suspect(one)]
    if not searchable and any(one.burned_in != "NO" or _is_capture(one) for one in suspects):
        raise DataError(
            "burned_in_text",
            "an image of a kind that often holds text (a projection, a derived image, a capture), and its pixels could "
            "not be searched: Tesseract is not installed or ocr is off",
        )
    if searchable and suspects:
        _search(suspects, always=True)
    elif searchable:
        _search(_sample(instances), always=bool(settings.ocr))


def _check_header(instance: Instance, settings: DeidSettings) -> None:
    """Refuse what its header already tells."""
    if instance.sop_class in _NO_PICTURES:
        return
    kind = _ALWAYS.get(instance.sop_class)
    words = {value.upper() for value in instance.image_type}
    if instance.burned_in == "YES":
        kind = "marked BurnedInAnnotation YES"
    elif kind is None and _is_capture(instance) and not settings.allow_secondary_capture:
        kind = "a secondary capture"
    elif instance.samples > 1 or instance.photometric not in _GREY:
        kind = kind or "a colour image, as screens and cameras make them"
    elif words & _CAPTURE_WORDS and not settings.allow_secondary_capture:
        kind = kind or "a picture of a screen"
    if kind is not None:
        raise DataError("burned_in_text", f"{kind}: names or dates may stand in the pixels; have a person look at it")


def _is_capture(instance: Instance) -> bool:
    return instance.sop_class == _CAPTURES or instance.sop_class.startswith(f"{_CAPTURES}.")


def _is_suspect(instance: Instance) -> bool:
    """Whether every image of this kind is searched."""
    if instance.sop_class in _NO_PICTURES or not instance.frames or not instance.rows:
        return False
    derived = tuple(value.upper() for value in instance.image_type[:2]) == ("DERIVED", "SECONDARY")
    from_scanner = instance.sop_class in _RECONSTRUCTED and instance.bits_allocated > 8
    return derived or not from_scanner


def _sample(instances: Sequence[Instance]) -> list[Instance]:
    """First, middle and last of the images, by number."""
    images = [one for one in instances if one.rows and one.sop_class not in _NO_PICTURES]
    images.sort(key=lambda one: (one.instance_number or 0, one.sop_instance))
    if not images:
        return []
    places = {0, len(images) // 2, len(images) - 1} if len(images) > 1 else {0}
    return [images[place] for place in sorted(places)][:SAMPLED_SLICES]


def _search(images: Sequence[Instance], *, always: bool) -> None:
    """Look for text in images, at most 50 of them, spread over all; unless ``always``, only where letters may be."""
    step = max(1, -(-len(images) // _MOST_IMAGES))
    for instance in images[::step]:
        for pixels in _frames(instance):
            if (always or _has_flat_maximum(pixels)) and has_text(pixels):
                raise DataError("burned_in_text", "text was found in the pixels; have a person look at it")


def _has_flat_maximum(pixels: NDArray[np.generic]) -> bool:
    """Whether more pixels than noise would give have the very largest value, as letters drawn in white do."""
    return int((pixels == pixels.max()).sum()) >= _FLAT_PIXELS


def _frames(instance: Instance) -> Iterator[NDArray[np.generic]]:
    """The first, middle and last frame of a grey image, as stored."""
    last = instance.frames - 1
    check_length(instance)
    for _, pixels in stored_frames(instance, sorted({0, instance.frames // 2, last} if last else {0})):
        yield pixels


@cache
def ocr_installed() -> bool:
    """Whether Tesseract and its Python package are there."""
    return find_spec("pytesseract") is not None and shutil.which("tesseract") is not None


def has_text(pixels: NDArray[np.generic]) -> bool:
    """Whether an image ``(rows, columns)`` or ``(rows, columns, colours)`` holds a word of 4 letters or digits."""
    import pytesseract
    from PIL import Image

    grey = _grey(pixels)
    if grey is None:
        return False
    image = Image.fromarray(grey)
    scale = max(1, round(_WIDTH / max(image.size)))
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    try:
        # Page segmentation 11: sparse text anywhere.
        found = pytesseract.image_to_data(
            image, config="--psm 11", output_type=pytesseract.Output.DICT, timeout=_TIMEOUT
        )
    except (RuntimeError, pytesseract.TesseractError) as error:
        raise DataError("burned_in_text", "the search for text did not end; have a person look at it") from error
    return any(_is_word(text, conf) for text, conf in zip(found["text"], found["conf"], strict=True))


def _grey(pixels: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    """An image as grey values from 0 to 255 over its whole range; None if it is flat."""
    values = np.asarray(pixels, dtype=np.float64)
    if values.ndim == 3:
        values = values.mean(axis=2)
    least, most = float(values.min()), float(values.max())
    if values.ndim != 2 or not np.isfinite([least, most]).all() or least == most:
        return None
    return np.rint((values - least) * (255 / (most - least))).astype(np.uint8)


def _is_word(text: str, confidence: float) -> bool:
    letters = [letter for letter in text if letter.isalnum()]
    return float(confidence) >= _MIN_CONFIDENCE and len(letters) >= _MIN_LETTERS and len(set(letters)) > 1
