"""The header of one DICOM file, as far as sorting and reading need it.

Nothing that stands in a file raises: a header is an ``Instance``, a ``Broken`` file, or no DICOM at all.
"""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from isal.isal_zlib import crc32
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag

from radfed.imaging.dicom.elements import Elements
from radfed.imaging.dicom.frames import FRAME_TAGS, Frame, read_frames
from radfed.imaging.unwarned import unwarned

PYDICOM_ERRORS = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    EOFError,
    KeyError,
    IndexError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    UnicodeError,
    ValueError,
    AssertionError,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders are known to raise on broken files."""

MAX_FRAMES = 100_000
MAX_INFLATED = 2**29
"""A deflated file may grow to this (bytes); a bomb stops here."""
MAX_RATIO = 64
"""And, beyond 64 MiB, to so many times its size: no scan is that empty."""

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DICOMDIR = "1.2.840.10008.1.3.10"

IMAGES = {
    f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("1", "1.1", "1.1.1", "2", "2.1", "2.2", "4", "4.1", "4.4", "128",
                                                      "130", "128.1")
}  # fmt: skip
"""CR, DX, CT, MR and PET, classic and enhanced: always with pixels."""

_TEXTS = {
    "sop_class": "SOPClassUID",
    "sop_instance": "SOPInstanceUID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "frame_of_reference": "FrameOfReferenceUID",
    "patient": "PatientID",
    "modality": "Modality",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "protocol": "ProtocolName",
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "body_part": "BodyPartExamined",
    "photometric": "PhotometricInterpretation",
    "burned_in": "BurnedInAnnotation",
    "quality_control": "QualityControlImage",
    "orientation_code": "PatientOrientation",
}
_UPPER = {"modality", "photometric", "burned_in", "quality_control"}
_SHORTS = {
    "rows": "Rows",
    "columns": "Columns",
    "samples": "SamplesPerPixel",
    "bits_allocated": "BitsAllocated",
    "bits_stored": "BitsStored",
    "high_bit": "HighBit",
    "signed": "PixelRepresentation",
}
_OTHERS = ("SpecificCharacterSet", "ImageType", "SeriesNumber", "InstanceNumber", "MagneticFieldStrength",
           "NumberOfFrames", "ImagerPixelSpacing", "ModalityLUTSequence")  # fmt: skip


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return int(tag)


_TEXT_TAGS = {name: _tag(keyword) for name, keyword in _TEXTS.items()}
_SHORT_TAGS = {name: _tag(keyword) for name, keyword in _SHORTS.items()}
_TAGS = [*_TEXT_TAGS.values(), *_SHORT_TAGS.values(), *(_tag(keyword) for keyword in _OTHERS), *FRAME_TAGS]
_CHUNK = 2**20
_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM file's header, as far as reading needs it. Absent texts are ``""``.

    Attributes:
        path: where the file lies.
        digest: SHA-256 of the file's bytes.
        content: CRC-32 of everything from the pixels on, from which copies with another header are known.
        details: place, rescale and time of each frame; one for a classic file, () for what is no image.
        pixel_offset: where the pixel values begin: in the file, or in the inflated dataset if it is deflated.
        pixel_length: their bytes; None where they are encapsulated (compressed), 0 where there are none.
    """

    path: Path
    digest: str
    content: str
    sop_class: str
    sop_instance: str
    study: str
    series: str
    frame_of_reference: str
    patient: str
    modality: str
    image_type: tuple[str, ...]
    transfer_syntax: str
    study_description: str
    series_description: str
    protocol: str
    series_number: int | None
    instance_number: int | None
    manufacturer: str
    model: str
    field_strength: float | None
    body_part: str
    burned_in: str
    quality_control: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: int
    float_pixels: bool
    modality_lut: bool
    imager_spacing: tuple[float, ...] | None
    orientation_code: str
    pixel_offset: int
    pixel_length: int | None
    details: tuple[Frame, ...]

    @property
    def position(self) -> tuple[float, ...] | None:
        """Centre of the first frame's first pixel (LPS, mm)."""
        return self.details[0].position if self.details else None

    @property
    def orientation(self) -> tuple[float, ...] | None:
        """Direction cosines of the first frame's rows and columns (LPS)."""
        return self.details[0].orientation if self.details else None

    @property
    def pixel_spacing(self) -> tuple[float, ...] | None:
        """Distance of the first frame's rows and of its columns (mm)."""
        return self.details[0].pixel_spacing if self.details else None

    @property
    def slice_thickness(self) -> float | None:
        """Of the first frame (mm)."""
        return self.details[0].thickness if self.details else None


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that looks like DICOM and cannot be read."""

    path: Path
    reason: str
    message: str


def read_header(path: Path) -> Instance | Broken | None:
    """Read a file's header and digest the whole file. None: no DICOM file, or a DICOMDIR."""
    try:
        with path.open("rb") as file:
            prefix = file.read(140)
            if not _looks_like_dicom(prefix):
                return None
            file.seek(0)
            return _read(path, file)
    except PYDICOM_ERRORS as error:
        if not _is_marked(path):
            return None  # it only looked like DICOM
        return Broken(path, "unreadable", f"the DICOM header cannot be read ({type(error).__name__})")


def _is_marked(path: Path) -> bool:
    """Whether the file says itself that it is DICOM, or cannot be opened at all."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True


def open_dataset(file: BinaryIO) -> BinaryIO:
    """The stream that holds the dataset: the file itself, or what is inside a deflated one.

    Raises:
        ValueError: it is cut short, or inflates to more than ``MAX_INFLATED`` or ``MAX_RATIO`` allow.
    """
    start = _deflated_at(file)
    if start is None:
        file.seek(0)
        return file
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = file.read()
    limit = min(MAX_INFLATED, 2**26 + MAX_RATIO * len(packed))
    data = inflater.decompress(packed, limit)
    if not inflater.eof:
        raise ValueError(f"cut short, or inflates to more than {limit} bytes")
    return io.BytesIO(data)


def _read(path: Path, file: BinaryIO) -> Instance | Broken | None:
    """The header in an open file."""
    stop = _Stop()
    stream = open_dataset(file)
    # pydicom warns about odd values and unknown character sets; what matters is checked here.
    with unwarned():
        dataset, meta, syntax = _parse(file, stream, stop)
        elements = Elements(dataset)
        if stop.length is not None:
            stop.offset = stream.tell() + stop.header
        sop_class = elements.text(_TEXT_TAGS["sop_class"]) or str(meta.get("MediaStorageSOPClassUID", "") or "")
        if sop_class == DICOMDIR or (len(dataset) == 0 and not sop_class):
            return None if sop_class == DICOMDIR else Broken(path, "unreadable", "the DICOM file holds no dataset")
    digests = _digests(file, stream, stop.offset)  # of all bytes, while other threads parse
    with unwarned():
        return _instance(path, elements, syntax, sop_class, stop, digests)


def _parse(file: BinaryIO, stream: BinaryIO, stop: "_Stop") -> tuple[Dataset, Dataset, str]:
    """The wanted elements before the pixels, the file meta information, and the transfer syntax."""
    if stream is not file:
        return read_dataset(stream, False, True, stop_when=stop, specific_tags=_TAGS), Dataset(), DEFLATED
    dataset = read_partial(file, stop_when=stop, specific_tags=_TAGS, force=True)
    implicit, little = dataset.original_encoding
    found = IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
    return dataset, dataset.file_meta, str(dataset.file_meta.get("TransferSyntaxUID", "") or found)


def _instance(
    path: Path, elements: Elements, syntax: str, sop_class: str, stop: "_Stop", digests: tuple[str, str]
) -> Instance | Broken:
    """The values of a parsed header."""
    texts: dict[str, Any] = {name: elements.text(tag) for name, tag in _TEXT_TAGS.items()} | {"sop_class": sop_class}
    texts |= {name: texts[name].upper() for name in _UPPER}
    shorts: dict[str, Any] = {name: next(iter(elements.binary(tag, "US")), 0) for name, tag in _SHORT_TAGS.items()}
    frames = elements.integer(_tag("NumberOfFrames")) or 1
    has_shape = shorts["rows"] > 0 and shorts["columns"] > 0
    is_image = has_shape and stop.offset > 0
    if not is_image and (has_shape or sop_class in IMAGES):
        return Broken(path, "unreadable", "an image without pixels: the file is cut short")
    if is_image and not 1 <= frames <= MAX_FRAMES:
        return Broken(path, "unreadable", f"the header promises {frames} frames, allowed are 1..{MAX_FRAMES}")
    image_type = elements.texts(_tag("ImageType"))
    length = None if stop.length == 0xFFFFFFFF else stop.length or 0
    return Instance(
        path=path,
        digest=digests[0],
        content=digests[1],
        **texts,
        **shorts,
        image_type=image_type,
        transfer_syntax=syntax,
        series_number=elements.integer(_tag("SeriesNumber")),
        instance_number=elements.integer(_tag("InstanceNumber")),
        field_strength=elements.number(_tag("MagneticFieldStrength")),
        frames=frames,
        float_pixels=stop.tag in (0x7FE00008, 0x7FE00009),
        modality_lut=bool(elements.items(_tag("ModalityLUTSequence"))),
        imager_spacing=elements.numbers(_tag("ImagerPixelSpacing"), 2),
        pixel_offset=stop.offset,
        pixel_length=length,
        details=read_frames(elements, frames, image_type) if is_image else (),
    )


class _Stop:
    """Ends the parsing at the pixel data and remembers which and how long."""

    def __init__(self) -> None:
        self.tag = 0
        self.length: int | None = None
        self.header = 8
        self.offset = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag not in _PIXELS:
            return False
        self.tag, self.length = int(tag), length
        self.header = 12 if vr is not None and vr in ("OB", "OW", "OF", "OD", "UN", "OL", "OV") else 8
        return True


def _digests(file: BinaryIO, stream: BinaryIO, offset: int) -> tuple[str, str]:
    """SHA-256 of the whole file, and CRC-32 of the stream from the pixels on."""
    content = 0
    if offset:
        stream.seek(offset)
        while chunk := stream.read(_CHUNK):
            content = crc32(chunk, content)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest(), f"{content:08x}" if offset else ""  # type: ignore[arg-type]


def _looks_like_dicom(prefix: bytes) -> bool:
    """The DICM mark, or a first element that files without a preamble begin with: group 2 or 8, a small length."""
    if prefix[128:132] == b"DICM":
        return True
    if len(prefix) < 16 or prefix[:2] not in (b"\x02\x00", b"\x08\x00") or prefix[3] != 0:
        return False
    explicit = prefix[4:6].isalpha() and prefix[4:6].isupper()
    return explicit or int.from_bytes(prefix[4:8], "little") < 256


def _deflated_at(file: BinaryIO) -> int | None:
    """Where the deflated dataset of a file begins, or None where it is not deflated."""
    file.seek(0)
    head = file.read(2048)
    if head[128:132] != b"DICM" or DEFLATED.encode() not in head or head[132:138] != b"\x02\x00\x00\x00UL":
        return None
    return 144 + int.from_bytes(head[140:144], "little")
