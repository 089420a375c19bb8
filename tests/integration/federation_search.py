"""Planted strings in bytes: plain, in other encodings, and inside what was packed on the way."""

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SHORTEST = 6
"""Fewer bytes are found by chance among weights."""
_DEEPEST = 3
_ZIP, _ZIP_END, _GZIP = b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08"
_ZLIB = (b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_LARGEST = 64 * 2**20


@dataclass(frozen=True)
class Hit:
    """A planted string that was found.

    Attributes:
        planted: what it is, as the test named it.
        encoding: how it was written.
        where: the file.
        around: the bytes beside it, for a person.
    """

    planted: str
    encoding: str
    where: str
    around: bytes


def forms(text: str) -> dict[str, bytes]:
    """The ways in which a string may be written, by name."""
    raw = text.encode()
    found = {"utf-8": raw, "utf-16-le": text.encode("utf-16-le"), "utf-16-be": text.encode("utf-16-be")}
    found |= {"hex": raw.hex().encode(), "url": quote(text, safe="").encode(), "json": ascii(text)[1:-1].encode()}
    for offset in range(3):
        # Inside base64 text a string begins at one of three places in a group; groups shared with others are left out.
        coded = base64.b64encode(b"\0" * offset + raw)
        found[f"base64+{offset}"] = coded[4 if offset else 0 : (offset + len(raw)) // 3 * 4]
    return {name: form for name, form in found.items() if len(form) >= SHORTEST}


def search(where: str, data: bytes, planted: Mapping[str, Set[str]], depth: int = 0) -> Iterator[Hit]:
    """All planted strings in some bytes and in what is packed in them.

    Args:
        where: for the hits.
        data: to be searched.
        planted: strings by what they are.
        depth: how often ``data`` was unpacked already.
    """
    for kind, texts in planted.items():
        for text in texts:
            for encoding, form in forms(text).items():
                at = data.find(form)
                if at >= 0:
                    around = data[max(0, at - 80) : at + len(form) + 80]
                    yield Hit(f"{kind} {text!r}", encoding, where, around)
    if depth < _DEEPEST:
        for name, inner in unpacked(data):
            yield from search(f"{where} > {name}", inner, planted, depth + 1)


def search_files(paths: Iterable[Path], planted: Mapping[str, Set[str]]) -> list[Hit]:
    """All planted strings in files, and in the names of the files."""
    hits: list[Hit] = []
    for path in paths:
        if path.is_file():
            hits += search(str(path), path.read_bytes(), planted)
            hits += search(f"name of {path}", path.name.encode(), planted)
    return hits


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What zip archives, gzip and zlib streams inside some bytes hold, wherever they begin."""
    yield from _zips(data)
    for at in _places(data, (_GZIP,)):
        yield from _inflated(f"gzip at {at}", data[at:], 31)
    for at in _places(data, _ZLIB):
        yield from _inflated(f"zlib at {at}", data[at:], 15)


def _zips(data: bytes) -> Iterator[tuple[str, bytes]]:
    ends = [at + 22 for at in _places(data, (_ZIP_END,))]
    begin = data.find(_ZIP)
    for end in ends:
        if not 0 <= begin < end:
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(data[begin:end])) as archive:
                for info in archive.infolist():
                    yield f"zip at {begin}, {info.filename}", info.filename.encode()
                    yield f"zip at {begin}, {info.filename}", archive.read(info)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, OSError):
            continue
        begin = data.find(_ZIP, end)


def _inflated(name: str, data: bytes, window: int) -> Iterator[tuple[str, bytes]]:
    try:
        inner = zlib.decompressobj(window).decompress(data, _LARGEST)
    except (zlib.error, gzip.BadGzipFile):
        return
    if inner:
        yield name, inner


def _places(data: bytes, marks: Iterable[bytes]) -> Iterator[int]:
    for mark in marks:
        at = data.find(mark)
        while at >= 0:
            yield at
            at = data.find(mark, at + 1)


@dataclass(frozen=True)
class Frame:
    """One frame of FLARE's transport: 16 bytes of prefix, headers, payload."""

    data: bytes

    @property
    def payload(self) -> bytes:
        """Without prefix and headers."""
        return self.data[16 + int.from_bytes(self.data[4:6], "big") :]


def read_frames(folder: Path) -> dict[str, list[Frame]]:
    """What ``federation_hook`` wrote of a participant: the frames of each process, in their order."""
    found: dict[str, list[Frame]] = {}
    for path in sorted(folder.glob("*.frames")):
        data, at = path.read_bytes(), 0
        frames = found.setdefault(path.name, [])
        while at + 8 <= len(data):
            size = int.from_bytes(data[at : at + 8], "big")
            frames.append(Frame(data[at + 8 : at + 8 + size]))
            at += 8 + size
    return found


def search_frames(folder: Path, planted: Mapping[str, Set[str]]) -> list[Hit]:
    """All planted strings in a participant's frames, each by itself and all payloads of a process joined."""
    hits: list[Hit] = []
    for name, frames in read_frames(folder).items():
        where = f"{folder.name}, process {name}"
        for number, frame in enumerate(frames):
            hits += search(f"{where}, frame {number}", frame.data, planted)
        hits += search(f"{where}, all payloads", b"".join(frame.payload for frame in frames), planted)
    return hits
