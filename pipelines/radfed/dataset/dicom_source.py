"""A tree of DICOM files as a source of cases: index, labels, selection, and a worker for each case."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radfed.dataset.accept import Acceptance, withdraw
from radfed.dataset.dicom_case import CaseWork, case_names, make_case
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Case
from radfed.dataset.sources import ENDINGS
from radfed.dataset.splits import DRAWN
from radfed.errors import DataError
from radfed.imaging.deid.identity import patient_key
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import Broken, Instance, read_header
from radfed.imaging.dicom.index import Index, archives, dicom_files, files_below, make_index
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.selection import SelectedCase, Selection, select
from radfed.imaging.objects.nifti_labels import label_key
from radfed.imaging.objects.structures import LABEL_CLASSES, References, references
from radfed.task import SegmentationTask
from radfed.workers import MEMORY, Workers

_log = logging.getLogger(__name__)

CHUNK = 32
"""Files that a worker reads in one go."""

_LABEL_WORDS = re.compile(r"(?<![a-z])(label|seg|segmentation|mask|contour)s?(tr)?(?![a-z])", re.IGNORECASE)
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")

FILE_SECONDS, CASE_SECONDS = 30.0, 300.0


@dataclass(frozen=True)
class Label:
    """A label object, and the series that it refers to.

    Attributes:
        path: of the file.
        series: ids of series in the index; empty if none is here.
        error: why the label is of no use, if ``series`` is empty.
    """

    path: Path
    series: frozenset[str]
    error: DataError


class DicomSource:
    """The cases of a tree of DICOM files.

    Attributes:
        phantom: the files say that their data are made up.
        label_names: none; each case's label objects name their structures.
        index: what was found.
        selection: what becomes a case.
        warnings: what people should know; free of identifiers.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[Path] | None,
        pool: Workers,
        task: SegmentationTask | None = None,
        reading: ReadOptions | None = None,
        deidentification: DeidSettings | None = None,
        missing: Mapping[str, int] | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Index the files.

        Args:
            root: the folder of the files; their names in the site's map of pseudonyms are relative to it.
            files: which DICOM files of the folder; None takes all, and NIfTI labels and archives beside them.
            pool: processes to read in.
            task: selects series by its channels' rules; None takes every series.
            reading: what reading may do to voxels; None allows nothing.
            deidentification: what is a risk; None takes the defaults.
            missing: SeriesInstanceUID to the number of instances that a PACS lists and did not give.
            on_progress: called with (done, total) files.
        """
        self._root, self._pool = root, pool
        self._reading, self._risks = reading or ReadOptions(), deidentification or DeidSettings()
        self._missing = dict(missing or {})
        whole = files is None
        self._nifti = nifti_labels(root) if whole else ()
        headers = _headers(dicom_files(root) if files is None else files, pool, on_progress)
        self.index: Index = make_index(headers, archives(root) if whole else ())
        self.labels = _labels(self.index, pool)
        referred = frozenset(name for label in self.labels for name in label.series)
        self.selection: Selection = select(self.index.series, task, referred)
        self._owners: dict[str, set[str]] = {}
        for case in self.selection.cases:
            for name in case_names(case).values():
                self._owners.setdefault(name, set()).add(case.id)
        self.phantom = bool(self.index.series) and all(one.phantom for one in self.index.series)
        self.label_names: dict[int, str] = {}
        self.mend_split = DRAWN

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should know; free of identifiers."""
        said = []
        if self.selection.passed_over:
            said.append(f"{len(self.selection.passed_over)} series are no channel of the task: --explain shows why")
        if self.index.broken:
            # Which series it was part of cannot be told; an inner slice leaves a gap, the last one leaves nothing.
            said.append(f"{len(self.index.broken)} broken files: a series may have lost slices at its ends unnoticed")
        if self.index.foreign:
            said.append(f"{self.index.foreign} files are not DICOM and were left alone")
        if self.index.duplicates:
            said.append(f"{self.index.duplicates} exact copies of files were left out")
        return tuple(said)

    def judge(self, how: Acceptance, on_progress: Callable[[int, int], None]) -> Iterator[Judgement]:
        """Judge each case: write what passes under ``how.staged``, say why the others fail."""
        yield from self._refused_before_reading()
        works = (self._work(case, how) for case in self.selection.cases if not self._incomplete(case))
        labelled: set[Path] = set()
        for done, outcome in enumerate(self._pool.map(make_case, works, CASE_SECONDS, _memory), start=1):
            on_progress(done, len(self.selection.cases))
            judged = outcome.value
            if judged is None:
                yield Judgement(outcome.item.case.id, outcome.item.patient, _crashed(outcome.error))
            elif judged.label_file in labelled and isinstance(judged.outcome, Case):
                withdraw(judged.outcome, how.staged)
                error = DataError("label_reference", "its label file fits another series as well; name it after one")
                yield Judgement(judged.raw, judged.patient, error)
            else:
                labelled |= {judged.label_file} if judged.label_file else set()
                yield judged
                for path, error in judged.refused_labels.items():
                    yield Judgement(self._name(path), "", error, beside=True)

    def _refused_before_reading(self) -> Iterator[Judgement]:
        for broken in self.index.broken:
            yield Judgement(self._name(broken.path), "", DataError(broken.reason, broken.message))
        for path in self.index.archives:
            error = DataError("archive", "a packed archive, whose content was not looked at; unpack it")
            yield Judgement(self._name(path), "", error)
        for study in self.selection.refused:
            yield Judgement(study.id, patient_key(study.patient, study.id), study.error)
        for label in self.labels:
            if not label.series:
                yield Judgement(self._name(label.path), "", label.error)
        for case in self.selection.cases:
            if count := self._incomplete(case):
                error = DataError("not_retrieved", f"the PACS lists {count} more instance(s) but did not give them")
                yield Judgement(case.id, patient_key(case.patient, case.study), error)
        known = {one.uid for one in self.index.series}
        for series, count in sorted(self._missing.items()):
            if series not in known:
                error = DataError("not_retrieved", f"the PACS lists {count} instance(s) but gave none of them")
                yield Judgement(series, "", error)

    def _incomplete(self, case: SelectedCase) -> int:
        return sum(self._missing.get(series.uid, 0) for series in case.channels)

    def _work(self, case: SelectedCase, how: Acceptance) -> CaseWork:
        wanted = {series.id for series in case.channels}
        labels = tuple(label.path for label in self.labels if label.series & wanted)
        patient = patient_key(case.patient, case.study or case.id)
        others = {name for name, owners in self._owners.items() if case.id not in owners}
        nifti = tuple(path for path in self._nifti if label_key(path) not in others)
        return CaseWork(case, patient, labels, nifti, how, self._reading, self._risks)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._root)) if path.is_relative_to(self._root) else path.name


def nifti_labels(root: Path) -> tuple[Path, ...]:
    """NIfTI files below a folder that say that they are labels, sorted.

    What says so is a word in the name or in a folder's name, or a name that is a UID: an image that somebody converted
    lies on the grid of its series as well.
    """
    found = (path for path in files_below(root) if path.name.lower().endswith(ENDINGS))
    return tuple(sorted(path for path in found if _says_label(path.relative_to(root))))


def _says_label(path: Path) -> bool:
    return bool(_LABEL_WORDS.search(str(path)) or _UID.fullmatch(label_key(path)))


def _memory(work: CaseWork) -> int:
    """What reading a case may allocate: several copies of its voxels as float32 (bytes)."""
    voxels = sum(
        instance.rows * instance.columns * instance.frames for one in work.case.channels for instance in one.instances
    )
    # A header can promise anything; its file cannot be that small.
    on_disk = sum(instance.path.stat().st_size for one in work.case.channels for instance in one.instances)
    return MEMORY + 12 * min(voxels, 64 * on_disk)


def _headers(
    files: Sequence[Path], pool: Workers, on_progress: Callable[[int, int], None]
) -> Iterator[Instance | Broken | None]:
    """Read headers in worker processes; a file that takes its worker down is broken."""
    chunks = [tuple(files[start : start + CHUNK]) for start in range(0, len(files), CHUNK)]
    done = 0
    for outcome in pool.map(_read_headers, chunks, timeout=FILE_SECONDS + CHUNK):
        done += len(outcome.item)
        on_progress(done, len(files))
        if outcome.value is not None:
            yield from outcome.value
            continue
        for single in pool.map(_read_headers, [(path,) for path in outcome.item], timeout=FILE_SECONDS):
            if single.value is not None:
                yield from single.value
            else:
                error = _crashed(single.error)
                yield Broken(single.item[0], "unreadable", str(error))


def _read_headers(paths: tuple[Path, ...]) -> list[Instance | Broken | None]:
    return [read_header(path) for path in paths]


def _labels(index: Index, pool: Workers) -> tuple[Label, ...]:
    """Label objects with the series that they refer to."""
    paths = [one.path for one in index.objects if one.sop_class in LABEL_CLASSES]
    by_uid: dict[str, set[str]] = {}
    by_instance: dict[str, set[str]] = {}
    by_frame: dict[str, set[str]] = {}
    for series in index.series:
        by_uid.setdefault(series.uid, set()).add(series.id)
        for instance in series.instances:
            by_instance.setdefault(instance.sop_instance, set()).add(series.id)
            by_frame.setdefault(instance.frame_of_reference, set()).add(series.id)
    found = []
    for outcome in pool.map(references, paths, timeout=FILE_SECONDS):
        refers = outcome.value
        if refers is None:
            found.append(Label(outcome.item, frozenset(), _crashed(outcome.error)))
            continue
        absent = DataError("label_reference", "the label refers to images that are not here; add them")
        found.append(Label(outcome.item, _referred(refers, by_uid, by_instance, by_frame), absent))
    return tuple(found)


def _referred(
    refers: References,
    by_uid: Mapping[str, Iterable[str]],
    by_instance: Mapping[str, Iterable[str]],
    by_frame: Mapping[str, Iterable[str]],
) -> frozenset[str]:
    """Ids of the series that a label means: by its instances, else by its series, else the only one of its frame."""
    by_instances = {name for uid in refers.instances for name in by_instance.get(uid, ())}
    if by_instances:
        return frozenset(by_instances)
    if refers.instances:
        return frozenset()
    by_series = {name for uid in refers.series for name in by_uid.get(uid, ())}
    if by_series or refers.series:
        return frozenset(by_series)
    of_frame = frozenset(by_frame.get(refers.frame_of_reference, ()))
    return of_frame if len(of_frame) == 1 else frozenset()


def _crashed(error: Exception | None) -> DataError:
    """What a reader's end with anything but an answer means for the case."""
    match error:
        case DataError():
            return error
        case TimeoutError():
            why = "it took too long"
        case MemoryError():
            why = "it asked for more memory than its size explains"
        case ChildProcessError():
            why = "the decoder crashed"
        case _:
            # For whoever runs the ingest, never for the quarantine: it may quote the file.
            _log.warning("unforeseen error in a worker", exc_info=error)
            why = type(error).__name__
    return DataError("undecodable", f"it cannot be read: {why}; export it again from its source")
