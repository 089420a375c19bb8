"""The folder that retrieved files wait in. Killed at any point, it holds whole files only."""

import errno
import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from radfed.files import hold
from radfed.imaging.pacs.failure import PacsError, TransientError
from radfed.imaging.pacs.listing import ListedSeries
from radfed.imaging.pacs.rate import TokenBucket
from radfed.imaging.unwarned import unwarned

IMPLEMENTATION = UID("2.25.45444400715984518988144229972609746271")
"""ImplementationClassUID of files in the spool: radfed's own, derived from a UUID (PS3.5, B.2)."""

_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")
# What pydicom raises on bytes that are no DICOM, or broken DICOM.
BROKEN = (
    InvalidDicomError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    NotImplementedError,
)


def file_header(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Preamble and file meta information of a file in the spool (PS3.10, 7.1).

    The same whichever way the data set came, so that equal data sets are equal files.
    """
    meta = FileMetaDataset()
    stream = DicomBytesIO()
    with unwarned():  # UIDs that break the rules are kept as they are
        meta.FileMetaInformationVersion = b"\x00\x01"
        meta.MediaStorageSOPClassUID = UID(sop_class)
        meta.MediaStorageSOPInstanceUID = UID(sop_instance)
        meta.TransferSyntaxUID = UID(transfer_syntax)
        meta.ImplementationClassUID = IMPLEMENTATION
        meta.ImplementationVersionName = "RADFED"
        write_file_meta_info(stream, meta)
    return bytes(b"\x00" * 128 + b"DICM" + stream.getvalue())


class Spool:
    """Files named by a digest of their SOPInstanceUID, and ``state.jsonl``: what is there, of which series.

    The folder has mode 0700, and one process at a time uses it.

    Args:
        folder: made if it is not there.
        min_free: bytes that must stay free on its disk.
        bucket: the limit on the rate, if there is one.

    Attributes:
        kept: files received since it was opened.
        on_kept: called after each of them, from the thread that received it.

    Raises:
        PacsError: another process uses the folder.
    """

    def __init__(self, folder: Path, min_free: float, bucket: TokenBucket | None) -> None:
        self.folder = folder
        self._min_free, self._bucket = min_free, bucket
        self._lock = threading.Lock()
        self.kept = 0
        self.on_kept: Callable[[], None] | None = None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        taken = PacsError(f"{folder}: another retrieval uses this folder; wait for it or give another folder")
        self._guard = hold(folder / "lock", taken)
        self._incoming = folder / "incoming"
        shutil.rmtree(self._incoming, ignore_errors=True)  # of a run that was killed
        self._incoming.mkdir()
        self._entries = _read_state(folder / "state.jsonl")
        self._state = (folder / "state.jsonl").open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.close()
        self._guard.close()

    def path(self, sop_instance: str) -> Path:
        """Where the file of an instance lies, or would lie."""
        name = hashlib.sha256(sop_instance.encode()).hexdigest()[:32]
        return self.folder / name[:2] / f"{name}.dcm"

    def has(self, sop_instance: str) -> bool:
        """Whether the file is there and as large as when it was written."""
        entry = self._entries.get(sop_instance)
        try:
            return entry is not None and self.path(sop_instance).stat().st_size == entry[1]
        except FileNotFoundError:
            return False

    def of_series(self, series: ListedSeries) -> tuple[str, ...]:
        """SOPInstanceUIDs of a listed series that are there, sorted."""
        if series.instances is not None:
            return tuple(name for name in series.instances if self.has(name))
        return tuple(sorted(name for name, (uid, _) in self._entries.items() if uid == series.uid and self.has(name)))

    def receive(self, chunks: Iterable[bytes], series: ListedSeries) -> bool:
        """Keep a DICOM file that arrives in pieces, if it is one of the series.

        Returns:
            Whether it was kept.

        Raises:
            TransientError: what came is no DICOM file.
            PacsError: the disk is full, or would be.
        """
        part = self._incoming / uuid.uuid4().hex
        try:
            with part.open("wb") as stream:
                for chunk in chunks:
                    self._check_room(len(chunk))
                    stream.write(chunk)
                    if self._bucket:
                        self._bucket.take(len(chunk))
            return self._keep(part, series)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                raise  # what requests raises is an OSError too
            raise PacsError(
                f"{self.folder}: cannot be written ({errno.errorcode[error.errno]}); see to its disk"
            ) from None
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, part: Path, series: ListedSeries) -> bool:
        try:
            with unwarned():  # about what is wrong further in; reading it properly comes later
                dataset = dcmread(part, stop_before_pixels=True, specific_tags=list(_KEYWORDS))
            sop_class, sop_instance, uid = (raw_text(dataset, keyword) for keyword in _KEYWORDS)
            header = file_header(sop_class, sop_instance, str(dataset.file_meta.TransferSyntaxUID))
        except BROKEN as error:
            raise TransientError("the PACS sent something that is no DICOM file") from error
        if sop_instance not in series.instances if series.instances is not None else uid != series.uid:
            return False
        whole = _with_header(part, header)
        with self._lock:
            path = self.path(sop_instance)
            path.parent.mkdir(exist_ok=True)
            size = whole.stat().st_size
            os.replace(whole, path)
            self._entries[sop_instance] = (series.uid, size)
            line = json.dumps({"sop": sop_instance, "series": series.uid, "bytes": size})
            self._state.write(line + "\n")
            self._state.flush()
            self.kept += 1
            if self.on_kept:
                self.on_kept()
        return True

    def _check_room(self, coming: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free - coming < self._min_free:
            raise PacsError(
                f"only {free / 1e9:.1f} GB are free on the disk of {self.folder}, and {self._min_free / 1e9:.1f} GB "
                "must stay free (min_free_gb); make room and run it again: what came is kept"
            )


def raw_text(dataset: FileDataset, keyword: str) -> str:
    """A UID's raw text: pydicom would warn about those that break the rules."""
    tag = tag_for_keyword(keyword)
    element = dataset.get_item(tag) if tag is not None and tag in dataset else None
    value = element.value if element is not None else b""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\x00 ")


def _with_header(part: Path, header: bytes) -> Path:
    """A file with the same data set behind this preamble and file meta information; the same file if it has them."""
    with part.open("rb") as source:
        start = source.read(144)
        if start[128:132] != b"DICM" or start[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
            return part  # without its group length the end of the group is not known for sure
        if start + source.read(int.from_bytes(start[140:144], "little")) == header:
            return part
        renewed = part.with_suffix(".dcm")
        with renewed.open("wb") as target:
            target.write(header)
            shutil.copyfileobj(source, target, 1 << 20)
    return renewed


def _read_state(path: Path) -> dict[str, tuple[str, int]]:
    """SOPInstanceUID to series and size. The last line may be torn: its instance is then asked for again."""
    entries = {}
    if path.exists():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                try:
                    entry = json.loads(line)
                    entries[str(entry["sop"])] = (str(entry["series"]), int(entry["bytes"]))
                except (ValueError, KeyError, TypeError):
                    continue
        if lines and not lines[-1].endswith("\n"):
            with path.open("a", encoding="utf-8") as stream:
                stream.write("\n")
    return entries
