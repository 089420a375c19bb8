"""Stored values of single frames: native ones straight from the file, compressed ones through pydicom's decoders.

Lengths that a header promises are held against what is there before anything is allocated.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut

from radfed.errors import DataError
from radfed.imaging.dicom.codestream import coded_shape
from radfed.imaging.dicom.header import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, PYDICOM_ERRORS, Instance, open_dataset
from radfed.imaging.unwarned import unwarned

MAX_COMPRESSED_FRAME = 2**26
"""Pixels of one compressed frame; a decoder allocates what the header says."""

_NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}
_RLE = "1.2.840.10008.1.2.5"
_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81)}
_JPEG_2000 = {f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203)}
_PLUGINS = {_RLE: "pydicom"} | dict.fromkeys(_JPEG, "gdcm")
_PLUGINS |= dict.fromkeys(_JPEG_2000, "pylibjpeg")
"""One decoder a syntax: which one a machine happens to find first must not decide about voxels.

GDCM and not pyjpegls for JPEG-LS: pyjpegls 1.5 takes 10 s and more to give up on a code of 2 KB that is cut short.
"""

Stored = NDArray[np.integer[Any]]


def check_length(instance: Instance) -> None:
    """Refuse pixels that cannot be as many as the header promises, before anything is allocated for them.

    Raises:
        DataError: ``undecodable``.
    """
    pixels, length = instance.rows * instance.columns, instance.pixel_length
    if instance.transfer_syntax in _NATIVE:
        needed = pixels * instance.frames * (instance.bits_allocated // 8)
        if length is None or length < needed:
            got = "fragments" if length is None else f"{length}"
            raise DataError("undecodable", f"the header promises {needed} bytes of pixels, the element holds {got}")
    elif instance.transfer_syntax not in _PLUGINS:
        raise DataError("undecodable", "the transfer syntax is none that is read: a video, or no standard one")
    elif length is not None:
        raise DataError("undecodable", "the transfer syntax is a compressed one, but the pixels are no fragments")
    elif pixels > MAX_COMPRESSED_FRAME:
        raise DataError("undecodable", f"a frame has {pixels} pixels, allowed are {MAX_COMPRESSED_FRAME}")


def stored_frames(instance: Instance, numbers: Sequence[int]) -> Iterator[tuple[int, Stored]]:
    """Decode frames one by one: their number (from 0) and stored values ``(Rows, Columns)``.

    Raises:
        DataError: ``undecodable``.
    """
    try:
        with instance.path.open("rb") as file:
            decode = _native if instance.transfer_syntax in _NATIVE else _compressed
            yield from decode(file, instance, sorted(numbers))
    except PYDICOM_ERRORS as error:
        raise DataError("undecodable", f"the pixels cannot be decoded ({type(error).__name__})") from error


def modality_lut(path: Path, stored: Stored) -> NDArray[np.float64]:
    """Stored values through the file's Modality LUT (PS3.3 C.11.1).

    Raises:
        DataError: ``undecodable``.
    """
    try:
        with unwarned():
            keywords = ["ModalityLUTSequence", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"]
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords, force=True)
            return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    except PYDICOM_ERRORS as error:
        raise DataError("undecodable", f"the Modality LUT cannot be read ({type(error).__name__})") from error


def _native(file: BinaryIO, instance: Instance, numbers: Sequence[int]) -> Iterator[tuple[int, Stored]]:
    """Frames that lie one behind another, uncompressed."""
    size = instance.bits_allocated // 8
    frame_bytes = instance.rows * instance.columns * size
    big = instance.transfer_syntax == BIG_ENDIAN
    if big and size == 1:
        raise DataError("undecodable", "8-bit pixels in big endian words are not read")
    dtype = np.dtype(f"{'>' if big else '<'}{'i' if instance.signed else 'u'}{size}")
    stream = open_dataset(file) if instance.transfer_syntax == DEFLATED else file
    for number in numbers:
        stream.seek(instance.pixel_offset + number * frame_bytes)
        data = stream.read(frame_bytes)
        if len(data) < frame_bytes:
            raise DataError("undecodable", f"the file is cut short: {len(data)} of {frame_bytes} bytes of a frame")
        frame = np.frombuffer(data, dtype).reshape(instance.rows, instance.columns)
        yield number, _stored_bits(frame, instance)


def _stored_bits(frame: Stored, instance: Instance) -> Stored:
    """Only the bits that belong to the pixel (PS3.5 8.1.1): older files keep overlays in the others."""
    allocated, stored = instance.bits_allocated, instance.bits_stored
    if stored in (0, allocated):
        return frame
    high = instance.high_bit if stored - 1 <= instance.high_bit < allocated else stored - 1
    native = frame.astype(frame.dtype.newbyteorder("="))
    np.left_shift(native, allocated - 1 - high, out=native)
    np.right_shift(native, allocated - stored, out=native)
    return native


def _compressed(file: BinaryIO, instance: Instance, numbers: Sequence[int]) -> Iterator[tuple[int, Stored]]:
    """Frames that lie in fragments, each compressed on its own."""
    file.seek(instance.pixel_offset)
    data = file.read()
    chosen = set(numbers)
    decoder = get_decoder(instance.transfer_syntax)
    options = _options(instance)
    for number, code in enumerate(generate_frames(io.BytesIO(data), number_of_frames=instance.frames)):
        if number not in chosen:
            continue
        shape = coded_shape(code, instance.transfer_syntax)
        if shape is not None and shape != (instance.rows, instance.columns):
            raise DataError(
                "undecodable",
                f"the header promises {instance.rows} x {instance.columns} pixels, the code {shape[0]} x {shape[1]}",
            )
        with unwarned():  # pydicom warns about padding and odd lengths
            frame, _ = decoder.as_array(
                _encapsulated(code), index=0, raw=True, decoding_plugin=_PLUGINS[instance.transfer_syntax], **options
            )
        yield number, frame
        chosen.remove(number)
        if not chosen:
            return
    if chosen:
        raise DataError("undecodable", f"{len(chosen)} of {instance.frames} promised frames are not there")


def _encapsulated(code: bytes) -> bytes:
    """One frame as pydicom's decoders take it: an empty offset table, one fragment, the end."""
    padded = code + b"\x00" * (len(code) % 2)
    item = b"\xfe\xff\x00\xe0"
    return item + bytes(4) + item + len(padded).to_bytes(4, "little") + padded + b"\xfe\xff\xdd\xe0" + bytes(4)


def _options(instance: Instance) -> dict[str, Any]:
    """What pydicom's decoders need to know of the header."""
    return {
        "rows": instance.rows,
        "columns": instance.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": instance.photometric,
        "pixel_representation": instance.signed,
        "bits_allocated": instance.bits_allocated,
        "bits_stored": instance.bits_stored or instance.bits_allocated,
        "pixel_keyword": "PixelData",
        "apply_j2k_sign_correction": True,
        "apply_jls_sign_correction": True,
    }
