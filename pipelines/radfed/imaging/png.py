"""Grey PNG pictures, strictly: what is no plain grey of 8 or 16 bits is refused, never converted."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radfed.errors import DataError
from radfed.imaging.unwarned import unwarned

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 2**26
"""A header that promises more is broken, or a bomb."""

_GREY, _RGB, _PALETTE = 0, 2, 3
_KINDS = {_GREY: "grey", _RGB: "RGB", _PALETTE: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_DEPTHS = {_GREY: (8, 16), _RGB: (8,), _PALETTE: (1, 2, 4, 8)}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error, zlib.error)


def read_png(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read grey values ``(rows, columns)``, uint8 or uint16 as stored.

    Colour types that show nothing but grey (R = G = B) are taken as grey of 8 bits. Resolution and gamma that a PNG
    may state are those of a screen, and are ignored.

    Raises:
        DataError: ``unreadable``, ``bit_depth``, ``colour_image``, ``transparent_image`` or ``unsupported_pixels``.
    """
    try:
        with path.open("rb") as file:
            kind = _check_header(file.read(26))
            file.seek(0)
            with unwarned(), Image.open(file, formats=["PNG"]) as image:  # odd metadata; what matters is checked here
                _check_plain(image)
                image.load()
                return _grey(image, kind)
    except _BROKEN as error:
        raise DataError(
            "unreadable", f"cannot be read as PNG ({type(error).__name__}): cut short, or damaged; copy it again"
        ) from error


def _check_header(head: bytes) -> int:
    """The colour type of the first chunk (PNG 11.2.1), once it is one that is read."""
    if head[:8] != SIGNATURE or head[12:16] != b"IHDR" or len(head) < 26:
        raise DataError("unreadable", "not a PNG file, or one that is cut short")
    columns, rows, depth, kind = struct.unpack(">IIBB", head[16:26])
    if not 0 < rows * columns <= MAX_PIXELS:
        raise DataError("unreadable", f"the header promises {columns} x {rows} pixels, allowed are {MAX_PIXELS}")
    if kind not in _KINDS:
        raise DataError("unreadable", f"there is no PNG colour type {kind}")
    if kind not in _DEPTHS:
        raise DataError("transparent_image", f"{_KINDS[kind]}: save it without an alpha channel, in grey")
    if depth not in _DEPTHS[kind]:
        allowed = " or ".join(str(bits) for bits in _DEPTHS[kind])
        raise DataError("bit_depth", f"{depth} bits a sample, {_KINDS[kind]}; allowed: {allowed}. Save it as grey")
    return int(kind)


def _check_plain(image: Image.Image) -> None:
    if "transparency" in image.info:
        raise DataError("transparent_image", "some grey or colour is marked transparent; save it without")
    if getattr(image, "n_frames", 1) != 1:
        raise DataError("unsupported_pixels", "an animated picture; save the one frame that is meant")


def _grey(image: Image.Image, kind: int) -> NDArray[Any]:
    if kind == _GREY:
        pixels = np.asarray(image)
        return pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
    colours = np.asarray(image.convert("RGB"))
    if (colours != colours[..., :1]).any():
        raise DataError("colour_image", "the picture is in colour; wanted grey, as the scanner stores it")
    return np.ascontiguousarray(colours[..., 0])
