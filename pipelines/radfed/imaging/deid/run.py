"""A folder of DICOM files to a folder of de-identified ones."""

import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from radfed.errors import DataError, InvalidInputError
from radfed.imaging.deid.engine import Deidentifier
from radfed.imaging.deid.identity import file_pseudonym, new_uid, patient_key
from radfed.imaging.deid.pixels import check_pixel_risk
from radfed.imaging.deid.residual import check_residual, identifying_values
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import PYDICOM_ERRORS, Broken, Instance, read_header
from radfed.imaging.dicom.index import archives, dicom_files
from radfed.imaging.unwarned import unwarned

QUARANTINE = "quarantine.jsonl"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class DeidReport:
    """What became of a folder.

    Attributes:
        written: files written.
        patients: patients that they are of.
        reasons: how many files were refused, by reason code.
        duplicates: exact copies, written once.
        foreign: files that are no DICOM; they are not copied.
        pseudonyms: (pseudonym, raw id) of patients and of refused files, for the site's own map.
    """

    written: int
    patients: int
    reasons: dict[str, int]
    duplicates: int
    foreign: int
    pseudonyms: tuple[tuple[str, str], ...]

    @property
    def refused(self) -> int:
        """Files refused."""
        return sum(self.reasons.values())


class _Run:
    """The state of one run: where files go, and what became of those seen so far."""

    def __init__(self, source: Path, staged: Path, secret: bytes, settings: DeidSettings) -> None:
        self.source, self.staged, self.secret, self.settings = source, staged, secret, settings
        self.engine = Deidentifier(secret, settings)
        self.lines: list[dict[str, str]] = []
        self.pseudonyms: dict[str, str] = {}
        self.patients: set[str] = set()
        self.digests: set[str] = set()
        self.written = self.duplicates = 0

    def refuse(self, path: Path, error: DataError) -> None:
        """Note a refused file under a pseudonym, and what its pseudonym means for the site's own map."""
        name = path.relative_to(self.source).as_posix()
        pseudonym = file_pseudonym(self.secret, name)
        # What is no text in the file system's encoding has no place in the map either.
        self.pseudonyms[pseudonym] = name.encode("utf-8", "replace").decode()
        self.lines.append({"id": pseudonym, "reason": error.reason, "detail": str(error)})

    def write(self, instance: Instance) -> None:
        """De-identify one file, search the result for what it should not hold, write it.

        Raises:
            DataError: ``unreadable``, ``unsupported_object``, ``residual_identifier`` or ``duplicate``.
        """
        if instance.digest in self.digests:
            self.duplicates += 1
            return
        self.digests.add(instance.digest)
        if not instance.details and instance.sop_class != STRUCTURES:
            raise DataError(
                "unsupported_object",
                "a report, document, waveform or presentation state, whose text cannot be made safe; "
                "images, segmentations and structure sets can",
            )
        source = _read(instance)
        clean = self.engine(source)
        _complete(clean, instance, self.secret)
        clean.file_meta = _file_meta(clean, instance.transfer_syntax)
        check_residual(clean, identifying_values(source))
        path = self.staged / clean.PatientID / clean.StudyInstanceUID / clean.SeriesInstanceUID
        path /= f"{clean.SOPInstanceUID}.dcm"
        if path.exists():
            raise DataError("duplicate", "another file has the same SOPInstanceUID and different content")
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(clean, path)
        self.written += 1
        self.patients.add(clean.PatientID)
        self.pseudonyms[clean.PatientID] = patient_key(instance.patient, instance.study)


def deidentify(
    source: Path,
    out: Path,
    secret: bytes,
    settings: DeidSettings,
    remember: Callable[[Pairs], None],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> DeidReport:
    """De-identify every DICOM file below a folder.

    Names of files and folders come from pseudonyms and new UIDs: ``<patient>/<study>/<series>/<instance>.dcm``. What
    is refused stands in ``quarantine.jsonl`` with its reason; one bad file never stops the others. ``out`` appears
    when all is done, or not at all.

    Args:
        source: a folder of DICOM files.
        out: a folder that does not exist, or is empty.
        secret: the site's secret.
        settings: what the site has decided.
        remember: called with (pseudonym, raw id) before ``out`` appears, so that no pseudonym is without its meaning.
        on_progress: called with (done, total) files.

    Raises:
        InvalidInputError: the source is no folder, or the output lies in it or is in use.
    """
    _check_places(source, out)
    staged = out.with_name(f".{out.name}.staging")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        run = _Run(source, staged, secret, settings)
        foreign = _work(run, dicom_files(source), on_progress)
        for path in archives(source):
            run.refuse(path, DataError("archive", "a packed archive was not looked at; unpack it first"))
        lines = sorted(run.lines, key=lambda line: line["id"])
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (staged / QUARANTINE).write_text(text, encoding="utf-8")
        pairs = tuple(sorted(run.pseudonyms.items()))
        remember(pairs)
        if out.exists():
            out.rmdir()
        os.replace(staged, out)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    reasons = dict(sorted(Counter(line["reason"] for line in lines).items()))
    return DeidReport(run.written, len(run.patients), reasons, run.duplicates, foreign, pairs)


def _work(run: _Run, paths: Sequence[Path], on_progress: Callable[[int, int], None]) -> int:
    """De-identify files, series by series; how many were no DICOM."""
    series: dict[tuple[str, ...], list[Instance]] = defaultdict(list)
    done = foreign = 0
    for path in paths:
        header = read_header(path)
        if isinstance(header, Instance):
            series[(header.study, header.series, header.sop_class)].append(header)
            continue
        done += 1
        on_progress(done, len(paths))
        if isinstance(header, Broken):
            run.refuse(path, DataError(header.reason, header.message))
        else:
            foreign += 1
    for _, instances in sorted(series.items()):
        for instance, error in _each(run, instances):
            if error is not None:
                run.refuse(instance.path, error)
            done += 1
            on_progress(done, len(paths))
    return foreign


def _each(run: _Run, instances: Sequence[Instance]) -> Iterator[tuple[Instance, DataError | None]]:
    """Write the files of a series; risk in the pixels of one is risk in all."""
    try:
        check_pixel_risk(instances, run.settings)
    except DataError as error:
        yield from ((instance, error) for instance in instances)
        return
    for instance in sorted(instances, key=lambda one: (one.sop_instance, one.digest)):
        try:
            run.write(instance)
        except DataError as error:
            yield instance, error
        except PYDICOM_ERRORS as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the file
            yield instance, DataError("unreadable", f"the DICOM file cannot be read whole ({type(error).__name__})")
        else:
            yield instance, None


def _read(instance: Instance) -> Dataset:
    with unwarned():  # odd values are replaced or dropped anyway
        # Files without the DICM mark have been recognised by their first element.
        return pydicom.dcmread(instance.path, force=True)


def _complete(clean: Dataset, instance: Instance, secret: bytes) -> None:
    """Give a file whose UIDs somebody emptied new ones, the same for what belongs together.

    Raises:
        DataError: ``unreadable``, if it is not known what kind of object it is.
    """
    if not instance.sop_class:
        raise DataError("unreadable", "SOPClassUID is missing: what kind of object is it?")
    study = f"study of {patient_key(instance.patient, instance.study)}"
    series = f"{study} {clean.get('StudyInstanceUID')} {instance.series_number} {instance.series_description}"
    missing = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance.digest}
    clean.SOPClassUID = instance.sop_class
    for keyword, text in missing.items():
        if not clean.get(keyword):
            setattr(clean, keyword, new_uid(secret, text))


def _file_meta(clean: Dataset, transfer_syntax: str) -> FileMetaDataset:
    """File meta information anew: nothing of the source but its transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = clean.SOPClassUID
    meta.MediaStorageSOPInstanceUID = clean.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    return meta


def _save(dataset: Dataset, path: Path) -> None:
    with unwarned():
        dataset.save_as(path, enforce_file_format=True)


def _check_places(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise InvalidInputError(f"{source}: is no folder; give one with DICOM files")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInputError(f"{out}: is in use; give a new or empty folder")
    here, there = source.resolve(), out.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise InvalidInputError(f"{out}: lies in the source or holds it; give another folder")
