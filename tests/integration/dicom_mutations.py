"""A seeded mutator of DICOM files: small whole files in, files that no scanner would write out.

A seed is a group of files that belong together; a mutation breaks the first of them. Each mutated group gets UIDs of
its own, so that what becomes of it can be told from all others.
"""

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from radfed.imaging.phantoms_dicom import Compression, fake_patient, write_phantom_seg, write_series
from radfed.imaging.volume import Volume

Random = np.random.Generator

SHAPE = (32, 32, 4)
_LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV")
_TEXT = (b"PN", b"LO", b"SH", b"CS", b"LT", b"ST", b"UI", b"DS", b"IS", b"DA", b"TM")
_NUMBERS = (b"DS", b"IS")
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = b"\xff\xff\xff\xff"
_PIXEL_DATA = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True)
class Seed:
    """Whole files that belong together, the first to be broken; ``plain``: explicit little endian, not deflated."""

    name: str
    files: tuple[bytes, ...]
    uids: tuple[bytes, ...]
    plain: bool


@dataclass(frozen=True)
class Element:
    """Where an element of an explicit little endian file stands: its tag, its length field, its value."""

    start: int
    vr: bytes
    length_at: int
    length_size: int
    value_at: int
    value_end: int

    def value(self, data: bytes) -> bytes:
        return data[self.value_at : self.value_end]


def make_seeds(folder: Path) -> tuple[Seed, ...]:
    """Classic and enhanced images of several transfer syntaxes, a SEG and an RTSTRUCT."""
    affine = np.diag([-1.5, -1.5, 3.0, 1.0])
    values = np.random.default_rng(0).integers(0, 900, size=(1, *SHAPE)).astype(np.int16)
    volume, patient = Volume(values, affine), fake_patient(np.random.default_rng(1))
    seeds = []
    everywhere: tuple[Compression, ...] = ("none", "rle", "jpeg", "jpegls")
    kinds: list[tuple[str, Compression]]
    kinds = [(flavour, packed) for flavour in ("ct", "enhanced_mr") for packed in everywhere]
    kinds += [("ct", "jpeg2000"), ("ct", "deflated"), ("enhanced_mr", "jpeg2000"), ("mr", "none"), ("pt", "none")]
    kinds += [("enhanced_ct", "none"), ("dx", "none")]
    for number, (flavour, packed) in enumerate(kinds):
        name = f"{flavour}-{packed}"
        paths = write_series(
            folder / name,
            volume,
            flavour,
            patient,
            seed=number,
            compression=packed,
            series_number=number + 1,
        )
        seeds.append(_seed(name, paths))
        if name == "ct-none":
            seeds += [_labelled(folder, paths), _structures(folder, paths), *_resaved(folder, paths)]
    return tuple(seeds)


def mutants(seeds: Sequence[Seed], count: int, seed: int = 0) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Mutated groups of files and what was done; the first file of each is the broken one."""
    names = sorted(MUTATIONS)  # one more than seeds: each meets each
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        chosen = seeds[number % len(seeds)]
        files = [_renamed(data, chosen.uids, number) for data in chosen.files]
        name = names[number % len(names)]
        if (not chosen.plain and name not in ("cut", "remains")) or (name == "bomb" and rng.random() < 0.95):
            name = "flip"
        try:
            broken = MUTATIONS[name](files[0], rng)
        except LookupError:  # the file has nothing of the kind to break
            broken = flip(files[0], rng)
        if broken and rng.random() < 0.1:
            broken = flip(broken, rng)
        yield f"{chosen.name}/{name}", (broken, *files[1:])


def elements(data: bytes) -> list[Element]:
    """All elements of an explicit little endian file, nested ones too, pixel data last."""
    found: list[Element] = []
    at = 132
    while at + 8 <= len(data):
        tag, vr = data[at : at + 4], data[at + 4 : at + 6]
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            at += 8
            continue
        size = 4 if vr in _LONG else 2
        length_at = at + 8 if vr in _LONG else at + 6
        length = int.from_bytes(data[length_at : length_at + size], "little")
        value_at = length_at + size
        inside = vr == b"SQ" or data[length_at : length_at + size] == _UNDEFINED
        is_pixels = tag == _PIXEL_DATA
        end = len(data) if is_pixels else value_at if inside else value_at + length
        found.append(Element(at, vr, length_at, size, value_at, end))
        if is_pixels:
            break
        at = end
    return found


def flip(data: bytes, rng: Random) -> bytes:
    """Some bits anywhere."""
    return _flipped(data, rng, 0, len(data))


def flip_header(data: bytes, rng: Random) -> bytes:
    return _flipped(data, rng, 132, _pixels(data).start)


def flip_pixels(data: bytes, rng: Random) -> bytes:
    return _flipped(data, rng, _pixels(data).start, len(data))


def flip_code_header(data: bytes, rng: Random) -> bytes:
    """Bits of what stands before the compressed samples: item headers, offset table, markers and sizes."""
    start = _pixels(data).value_at
    return _flipped(data, rng, start, min(start + 120, len(data)))


def flip_length(data: bytes, rng: Random) -> bytes:
    one = _any(data, rng)
    return _flipped(data, rng, one.length_at, one.length_at + one.length_size, most=2)


def cut(data: bytes, rng: Random) -> bytes:
    """Cut short: anywhere, between elements, in a length, in a value, in the pixels."""
    one, pixels = _any(data, rng), _pixels(data)
    places = [int(rng.integers(len(data))), one.start, one.length_at + 1, (one.value_at + one.value_end) // 2]
    places.append((min(pixels.start, len(data)) + len(data)) // 2)
    return data[: places[int(rng.integers(len(places)))]]


def huge_length(data: bytes, rng: Random) -> bytes:
    one = _any(data, rng)
    choices = [0xFFFFFFFF, 0xFFFFFFFE, 0x80000000, 0x7FFFFFFE, 0x10000000, 0x0000FFFE]
    length = choices[int(rng.integers(len(choices)))] & (0xFFFF if one.length_size == 2 else 0xFFFFFFFF)
    return data[: one.length_at] + length.to_bytes(one.length_size, "little") + data[one.value_at :]


def deep_nesting(data: bytes, rng: Random) -> bytes:
    """Sequences in sequences, up to 20,000 deep, closed or left open, of a tag that reading looks at or passes over."""
    depth = int(rng.choice([10, 500, 1100, 3000, 20000]))
    tags = [b"\x40\x00\x30\xa7", b"\x00\x52\x29\x92", b"\x28\x00\x00\x30"]  # Content, SharedFunctionalGroups, LUT
    tag = tags[int(rng.integers(len(tags)))]
    opening = tag + b"SQ\x00\x00" + _UNDEFINED + _ITEM + _UNDEFINED
    closing = _ITEM_END + bytes(4) + _SEQUENCE_END + bytes(4)
    at = _pixels(data).start
    return data[:at] + opening * depth + closing * (depth * int(rng.integers(2))) + data[at:]


def sizes(data: bytes, rng: Random) -> bytes:
    """Rows, columns and samples that cannot be."""
    tags = [b"\x28\x00\x10\x00", b"\x28\x00\x11\x00", b"\x28\x00\x02\x00"]
    for tag in tags[: int(rng.integers(1, 4))]:
        value = int(rng.choice([0, 1, 3, 31, 33, 4096, 65535]))
        data = _valued(data, tag, value.to_bytes(2, "little"))
    return data


def bits(data: bytes, rng: Random) -> bytes:
    """BitsAllocated, BitsStored, HighBit, PixelRepresentation that cannot be."""
    for low in rng.permutation([0x00, 0x01, 0x02, 0x03])[: int(rng.integers(1, 5))]:
        value = int(rng.choice([0, 1, 2, 7, 8, 12, 15, 16, 24, 32, 64, 255, 65535]))
        data = _valued(data, bytes([0x28, 0x00, int(low), 0x01]), value.to_bytes(2, "little"))
    return data


def frame_count(data: bytes, rng: Random) -> bytes:
    texts = [b"0", b"-1", b"2", b"99999", b"2147483648", b"999999999999", b"1.5", b"x", b"", b"3\\4"]
    text = texts[int(rng.integers(len(texts)))]
    return _with_element(data, b"\x28\x00\x08\x00", b"IS", text + b" " * (len(text) % 2))


def wrong_type(data: bytes, rng: Random) -> bytes:
    """Another value representation than the element has; some do not exist."""
    one = _any(data, rng)
    choices = [*_LONG, *_TEXT, b"US", b"SS", b"UL", b"FL", b"FD", b"AT", b"XX", b"\x00\x00", b"??"]
    return data[: one.start + 4] + choices[int(rng.integers(len(choices)))] + data[one.start + 6 :]


def strange_text(data: bytes, rng: Random) -> bytes:
    """Bytes of no character set in texts, and a character set of no name."""
    for one in _sample(data, rng, _TEXT, 5):
        data = _spliced(data, one, rng.integers(0x80, 0x100, one.value_end - one.value_at, dtype=np.uint8).tobytes())
    names = [b"ISO 2022 IR 87", b"NO SUCH SET ", b"\\ISO_IR 192 ", b"\x1b$B", b"\xff\xfe"]
    return _with_element(data, b"\x08\x00\x05\x00", b"CS", names[int(rng.integers(len(names)))])


def strange_numbers(data: bytes, rng: Random) -> bytes:
    """Positions, spacings, slopes that are no numbers, or no number that anybody measures."""
    texts = [b"nan", b"inf", b"-inf", b"1e400", b"1e-400", b"-", b"1,5", b"0x10", b"", b"0", b"1e38", b"-1"]
    for one in _sample(data, rng, _NUMBERS, 4):
        width = one.value_end - one.value_at
        count = one.value(data).count(b"\\") + 1 if rng.random() < 0.8 else 7
        text = b"\\".join(texts[int(rng.integers(len(texts)))] for _ in range(count))
        data = _spliced(data, one, text.ljust(width)[:width])
    for one in _sample(data, rng, (b"FD",), 3):
        odd = np.array([rng.choice([np.nan, np.inf, -1e308, 0.0])]).tobytes()
        data = _spliced(data, one, odd * ((one.value_end - one.value_at) // 8))
    return data


def elements_lost_and_doubled(data: bytes, rng: Random) -> bytes:
    """An element taken out, emptied, written twice or at the wrong place."""
    one = _any(data, rng)
    whole = data[one.start : one.value_end]
    match int(rng.integers(4)):
        case 0:
            return data[: one.start] + data[one.value_end :]
        case 1:
            return data[: one.length_at] + bytes(one.length_size) + data[one.value_end :]
        case 2:
            return data[: one.start] + whole + data[one.start :]
    other = _any(data, rng).start
    return data[:other] + whole + data[other:]


def encapsulation(data: bytes, rng: Random) -> bytes:
    """Fragments, offset tables and delimiters that contradict each other, or where there should be none."""
    pixels = _pixels(data)
    value = bytearray(data[pixels.value_at :])
    items = [at for at in range(0, len(value) - 8, 2) if value[at : at + 4] == _ITEM]
    for _ in range(int(rng.integers(1, 4))):
        at = items[int(rng.integers(len(items)))] if items else 0
        match int(rng.integers(6)):
            case 0:
                length = int(rng.choice([0, 1, 7, 0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF]))
                value[at + 4 : at + 8] = length.to_bytes(4, "little")
            case 1:
                value[at : at + 4] = _SEQUENCE_END
            case 2:
                del value[at : at + 8]
            case 3:
                value[at:at] = _ITEM + b"\x08\x00\x00\x00" + rng.bytes(8)
            case 4:
                del value[-8:]
            case _:
                value[at:at] = _ITEM + bytes(4)
    head = data[: pixels.value_at]
    if rng.random() < 0.3:
        head = head[:-4] + (_UNDEFINED if head[-4:] != _UNDEFINED else len(value).to_bytes(4, "little"))
    return head + bytes(value)


def other_syntax(data: bytes, rng: Random) -> bytes:
    """Another transfer syntax than the one that it is written in."""
    numbers = ["", ".1", ".2", ".1.99", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.90", ".4.201", ".4.100"]
    name = f"1.2.840.10008.1.2{numbers[int(rng.integers(len(numbers)))]}".encode()
    return _with_element(data, b"\x02\x00\x10\x00", b"UI", name + b"\x00" * (len(name) % 2))


def other_class(data: bytes, rng: Random) -> bytes:
    """Another kind of object than it is."""
    kinds = [".2", ".4", ".4.1", ".66.4", ".66.7", ".481.3", ".88.33", ".128", ".1.1", ".7", ".6.1", ".30", ".2.1"]
    name = f"1.2.840.10008.5.1.4.1.1{kinds[int(rng.integers(len(kinds)))]}".encode()
    return _with_element(data, b"\x08\x00\x16\x00", b"UI", name + b"\x00" * (len(name) % 2))


def remains(data: bytes, rng: Random) -> bytes:
    """Nothing, a preamble, a mark, file meta information alone, noise behind a mark."""
    choices = [b"", bytes(128), bytes(128) + b"DICM", data[:140], data[: _first_of_dataset(data)]]
    choices += [bytes(128) + b"DICM" + rng.bytes(5000), rng.bytes(3000), data[132:], data[_first_of_dataset(data) :]]
    return choices[int(rng.integers(len(choices)))]


def bomb(data: bytes, rng: Random) -> bytes:
    """A deflated dataset of a few hundred kilobytes that wants 2 GiB."""
    named = other_syntax_to(data, b"1.2.840.10008.1.2.1.99")
    start = _first_of_dataset(named)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    cut_at = len(named) if rng.random() < 0.5 else _pixels(named).value_at
    body = packer.compress(named[start:cut_at]) + packer.flush(zlib.Z_FULL_FLUSH)
    return named[:start] + body + _zeros()


def other_syntax_to(data: bytes, name: bytes) -> bytes:
    return _with_element(data, b"\x02\x00\x10\x00", b"UI", name + b"\x00" * (len(name) % 2))


MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    made.__name__: made
    for made in (
        *(flip, flip_header, flip_pixels, flip_code_header, flip_length, cut, huge_length, deep_nesting, sizes, bits),
        *(frame_count, wrong_type, strange_text, strange_numbers, elements_lost_and_doubled, encapsulation),
        *(other_syntax, other_class, remains, bomb),
    )
}


@cache
def _zeros() -> bytes:
    """2 GiB of zeros, deflated: a block of 64 MiB many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**24)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return first * 128 + b"\x03\x00"


def _seed(name: str, paths: Sequence[Path]) -> Seed:
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
    uids = {str(dataset[keyword].value).encode() for dataset in datasets for keyword in keywords if keyword in dataset}
    syntax = datasets[0].file_meta.TransferSyntaxUID
    plain = syntax not in (DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian)
    return Seed(name, tuple(path.read_bytes() for path in paths), tuple(sorted(uids)), plain)


def _labelled(folder: Path, images: Sequence[Path]) -> Seed:
    label = np.zeros(SHAPE, dtype=np.uint8)
    label[5:10, 5:10, 1:3], label[15:20, 5:10, 1:3] = 1, 2
    write_phantom_seg(folder / "seg.dcm", label, images, fake_patient(np.random.default_rng(1)), seed=3)
    return _seed("seg", [folder / "seg.dcm", *images])


def _structures(folder: Path, images: Sequence[Path]) -> Seed:
    """An RTSTRUCT of two squares on the middle slices."""
    of = [pydicom.dcmread(path) for path in images]
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = of[0].SOPInstanceUID[:-3] + "999"
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        setattr(made, keyword, of[0][keyword].value)
    made.SeriesInstanceUID, made.Modality = of[0].SeriesInstanceUID[:-3] + "998", "RTSTRUCT"
    region, contours, frame = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = 1, "liver", of[0].FrameOfReferenceUID
    frame.FrameOfReferenceUID = of[0].FrameOfReferenceUID
    contours.ReferencedROINumber, contours.ContourSequence = 1, []
    for image in of[1:3]:
        x, y, z = (float(value) for value in image.ImagePositionPatient)
        drawn, reference = pydicom.Dataset(), pydicom.Dataset()
        corners = [(x + 6, y + 6), (x + 18, y + 6), (x + 18, y + 18), (x + 6, y + 18)]
        drawn.ContourGeometricType, drawn.NumberOfContourPoints = "CLOSED_PLANAR", len(corners)
        drawn.ContourData = [f"{value:.3f}" for corner in corners for value in (*corner, z)]
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        drawn.ContourImageSequence = [reference]
        contours.ContourSequence.append(drawn)
    made.StructureSetROISequence, made.ROIContourSequence = [region], [contours]
    made.ReferencedFrameOfReferenceSequence = [frame]
    made.save_as(folder / "rtstruct.dcm", enforce_file_format=True)
    return _seed("rtstruct", [folder / "rtstruct.dcm", *images])


def _resaved(folder: Path, images: Sequence[Path]) -> Iterator[Seed]:
    """The same series with implicit value representations, and as 8-bit JPEG baseline."""
    paths: dict[str, list[Path]] = {"ct-implicit": [], "ct-baseline": []}
    for name, written in paths.items():
        (folder / name).mkdir()
        for image in images:
            dataset = pydicom.dcmread(image)
            if name == "ct-implicit":
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            else:
                code = io.BytesIO()
                Image.fromarray((dataset.pixel_array % 256).astype(np.uint8)).save(code, "jpeg")
                dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
                dataset.PixelData = encapsulate([code.getvalue()])
                dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
                dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
            dataset.save_as(folder / name / image.name, implicit_vr=name == "ct-implicit", little_endian=True)
            written.append(folder / name / image.name)
        yield _seed(name, written)


def _renamed(data: bytes, uids: Sequence[bytes], number: int) -> bytes:
    """The file with other UIDs of the same length: equal ones stay equal, of each group others."""
    suffix = f"{number:06}".encode()
    if DeflatedExplicitVRLittleEndian.encode() in data[:1000]:
        start = _first_of_dataset(data)
        inside = zlib.decompress(data[start:], -15)
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(_renamed_plain(inside, uids, suffix)) + packer.flush()
        return _renamed_plain(data[:start], uids, suffix) + packed
    return _renamed_plain(data, uids, suffix)


def _renamed_plain(data: bytes, uids: Sequence[bytes], suffix: bytes) -> bytes:
    for uid in uids:
        data = data.replace(uid, uid[:-12] + suffix + uid[-6:])
    return data


def _first_of_dataset(data: bytes) -> int:
    """Where the dataset begins, behind the file meta information (PS3.10 7.1)."""
    return 144 + int.from_bytes(data[140:144], "little")


def _pixels(data: bytes) -> Element:
    """The pixel data, or where there are none the last element."""
    return elements(data)[-1]


def _any(data: bytes, rng: Random) -> Element:
    found = elements(data)
    return found[int(rng.integers(len(found)))]


def _sample(data: bytes, rng: Random, types: Sequence[bytes], count: int) -> list[Element]:
    found = [one for one in elements(data) if one.vr in types and one.value_end > one.value_at]
    return [found[int(index)] for index in rng.permutation(len(found))[:count]]


def _spliced(data: bytes, one: Element, value: bytes) -> bytes:
    """Another value of the same length."""
    return data[: one.value_at] + value + data[one.value_at + len(value) :]


def _valued(data: bytes, tag: bytes, value: bytes) -> bytes:
    for one in elements(data):
        if data[one.start : one.start + 4] == tag and one.value_end - one.value_at == len(value):
            return _spliced(data, one, value)
    raise LookupError


def _with_element(data: bytes, tag: bytes, vr: bytes, value: bytes) -> bytes:
    """An element of a short length set at the top level, replaced or put in its place."""
    made = tag + vr + len(value).to_bytes(2, "little") + value
    order = tag[:2][::-1] + tag[2:][::-1]
    for one in elements(data):
        other = data[one.start : one.start + 4]
        if other == tag:
            return data[: one.start] + made + data[one.value_end :]
        if other[:2][::-1] + other[2:][::-1] > order:
            return data[: one.start] + made + data[one.start :]
    raise LookupError


def _flipped(data: bytes, rng: Random, start: int, end: int, most: int = 12) -> bytes:
    if end <= start:
        raise LookupError
    broken = bytearray(data)
    for place in rng.integers(start, end, size=int(rng.integers(1, most + 1))):
        broken[int(place)] ^= 1 << int(rng.integers(8))
    return bytes(broken)
