"""Make a prepared dataset from a source: check each case, convert what passes, quarantine what fails."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import Field

from radfed.dataset.accept import Acceptance, withdraw
from radfed.dataset.checks import channels_of
from radfed.dataset.counts import missing_values, one_sided, outcomes
from radfed.dataset.datalist import make_datalist
from radfed.dataset.dicom_source import DicomSource
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Case, Quarantined, write_jsonl, write_lists
from radfed.dataset.nifti_source import NiftiSource
from radfed.dataset.pseudonyms import case_pseudonym, patient_pseudonym, write_map
from radfed.dataset.sources import ENDINGS, FOLDERS
from radfed.dataset.splits import SPLITS, SplitSettings
from radfed.dataset.staging import check_places, remove_unlisted, replace, staging
from radfed.errors import DataError, DatasetRefusedError, InvalidInputError
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import read_header
from radfed.imaging.dicom.index import dicom_files
from radfed.imaging.dicom.options import ReadOptions
from radfed.settings import Settings
from radfed.task import OutcomeTask, SegmentationTask
from radfed.workers import workers

Progress = Callable[[int, int], None]
"""Called with the number of cases done and the number of all cases."""

_ROW = re.compile(r"^row \d+[:,]? ")

EXPECTED = frozenset({"localizer", "burned_in_text", "archive"})
"""What any PACS holds besides what was looked for; it says nothing against the rest of an export."""


@dataclass(frozen=True)
class IngestSettings:
    """How to ingest.

    Attributes:
        site: name of the site.
        secret: key of the pseudonyms, from the site's folder.
        pseudonyms: CSV that maps pseudonyms to raw ids; lies in the site's folder, never in the dataset.
        task: the contract to check against; None accepts any image, any whole label, and unlabelled sources.
        max_refused: largest share of cases that may fail.
        split: shares and seed of the splits.
        patients: raw case id to raw patient id; None takes each NIfTI case as a patient of its own, and DICOM's word.
        reading: what reading DICOM may do to voxels.
        deidentification: what counts as a risk in DICOM.
        processes: how many read DICOM; None takes one a core.
    """

    site: str
    secret: bytes = field(repr=False)
    pseudonyms: Path
    task: SegmentationTask | OutcomeTask | None = None
    max_refused: float = 0.2
    split: SplitSettings = field(default_factory=SplitSettings)
    patients: Mapping[str, str] | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    deidentification: DeidSettings = field(default_factory=DeidSettings)
    processes: int | None = None


class IngestReport(Settings):
    """What became of a source. Free of identifiers."""

    site: str
    task: str
    phantom: bool
    cases: int
    patients: int
    splits: dict[str, int]
    quarantined: int
    reasons: dict[str, int]
    outcomes: dict[str, int] = Field(default={}, description="Cases of each class, with each finding, or event")
    missing: dict[str, int] = Field(default={}, description="Cases without each covariate")
    warnings: tuple[str, ...] = ()


class CaseSource(Protocol):
    """Where cases come from."""

    phantom: bool
    label_names: dict[int, str]
    mend_split: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should know; free of identifiers."""

    def judge(self, how: Acceptance, on_progress: Progress) -> Iterator[Judgement]:
        """Judge each case: write what passes under ``how.staged``, say why the others fail."""


def ingest(
    source: Path,
    out: Path,
    settings: IngestSettings,
    on_progress: Progress | None = None,
    on_index: Progress | None = None,
    files: Sequence[Path] | None = None,
    missing: Mapping[str, int] | None = None,
) -> IngestReport:
    """Ingest a folder of NIfTI or DICOM files into the dataset ``out``, replacing an older dataset only on success.

    Images and labels are written as RAS NIfTI with their original spacing. Splits are by patient.

    Args:
        source: the folder.
        out: the dataset's folder.
        settings: the site's.
        on_progress: called with (done, total) cases.
        on_index: called with (done, total) DICOM files whose headers were read.
        files: which of the folder's files; None takes all.
        missing: SeriesInstanceUID to the number of instances that a PACS lists and did not give.

    Raises:
        InvalidInputError: the source holds no case, ``out`` is something else than a dataset, or the patients'
            mapping misses a case or is given for DICOM.
        DatasetRefusedError: more than ``max_refused`` of the cases failed; why is kept in ``<out>.quarantine.jsonl``.
    """
    source, out = source.absolute(), out.absolute()
    check_places(source, out, settings.pseudonyms.absolute())
    if isinstance(settings.task, OutcomeTask):
        raise InvalidInputError(
            f"the task {settings.task.name} learns from records; give them with --table and --mapping"
        )
    if not holds_dicom(source):
        channels = len(channels_of(settings.task)) or 1
        return ingest_cases(NiftiSource(source, channels, settings.patients), out, settings, on_progress)
    with open_dicom(source, settings, on_index, files, missing) as found:
        return ingest_cases(found, out, settings, on_progress)


@contextmanager
def open_dicom(
    source: Path,
    settings: IngestSettings,
    on_index: Progress | None = None,
    files: Sequence[Path] | None = None,
    missing: Mapping[str, int] | None = None,
) -> Iterator[DicomSource]:
    """Index a tree of DICOM files with worker processes, which go with the block; see ``ingest``."""
    if settings.patients is not None:
        raise InvalidInputError("a CSV of patients is for NIfTI files; DICOM files say themselves who is who")
    with workers(settings.processes) as pool:
        yield DicomSource(
            source,
            files,
            pool,
            settings.task if isinstance(settings.task, SegmentationTask) else None,
            settings.reading,
            settings.deidentification,
            missing,
            on_index or (lambda _done, _total: None),
        )


def holds_dicom(folder: Path) -> bool:
    """Whether a folder is to be read as DICOM: it has no NIfTI images in a known arrangement, and a DICOM file."""
    if any(path.name.lower().endswith(ENDINGS) for image, _ in FOLDERS for path in (folder / image).glob("*")):
        return False
    return any(read_header(path) is not None for path in dicom_files(folder))


def ingest_cases(
    source: CaseSource, out: Path, settings: IngestSettings, on_progress: Progress | None = None
) -> IngestReport:
    """Ingest what a source gives; see ``ingest``."""
    with staging(out) as staged:
        how = Acceptance(settings.secret, staged, settings.split, settings.task)
        judgements = source.judge(how, on_progress or (lambda _done, _total: None))
        judged = list(_without_duplicates(judgements, staged))
        _keep_map(judged, settings)
        cases = tuple(item.outcome for item in judged if isinstance(item.outcome, Case))
        refused = (line for item in judged for line in _refusal(item, settings))
        quarantine = tuple(sorted(refused, key=lambda line: line.id))
        failed = sum(_speaks_against(item) for item in judged)
        _refuse_if_too_many(len(cases), failed, quarantine, settings.max_refused, out)
        remove_unlisted(staged, cases)
        datalist = make_datalist(source.phantom, source.label_names, judged, settings.site, settings.task)
        write_lists(staged, datalist, cases, quarantine)
        replace(staged, out)
    _quarantine_beside(out).unlink(missing_ok=True)
    return _report(source, settings, cases, quarantine)


def _without_duplicates(judged: Iterator[Judgement], staged: Path) -> Iterator[Judgement]:
    """Refuse what has the same image as a case before it."""
    seen: dict[str, Case] = {}
    for item in judged:
        case = item.outcome
        pixels = case.pixels if isinstance(case, Case) else None
        if isinstance(case, Case) and pixels in seen:
            withdraw(case, staged)
            twin = seen[pixels].id
            error = DataError("duplicate", f"the same image as {twin}; keep one of the two")
            yield Judgement(item.raw, item.patient, error)
            continue
        # Two patients may well have equal records.
        if isinstance(case, Case) and pixels is not None:
            seen[pixels] = case
        yield item


def _refusal(item: Judgement, settings: IngestSettings) -> Iterator[Quarantined]:
    if isinstance(item.outcome, DataError):
        pseudonym = case_pseudonym(settings.secret, item.raw)
        yield Quarantined(id=pseudonym, reason=item.outcome.reason, detail=str(item.outcome))


def _keep_map(judged: list[Judgement], settings: IngestSettings) -> None:
    """Keep the way back from pseudonyms to raw ids, quarantined cases included, in the site's folder."""
    pairs = [(case_pseudonym(settings.secret, item.raw), item.raw) for item in judged]
    pairs += [(patient_pseudonym(settings.secret, item.patient), item.patient) for item in judged if item.patient]
    write_map(settings.pseudonyms, pairs)


def _speaks_against(item: Judgement) -> bool:
    """Whether a refusal says something about the quality of the source."""
    return isinstance(item.outcome, DataError) and item.outcome.reason not in EXPECTED and not item.beside


def _refuse_if_too_many(
    accepted: int, failed: int, quarantine: tuple[Quarantined, ...], limit: float, out: Path
) -> None:
    """Raise if too large a share failed, or nothing is left; the reasons are kept beside ``out``."""
    total = accepted + failed
    share = failed / total if total else 1.0
    if accepted and share <= limit:
        return
    kept = _quarantine_beside(out)
    beside = kept.with_name(f".{kept.name}.{os.getpid()}")
    write_jsonl(beside, quarantine)
    os.replace(beside, kept)
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(q.reason for q in quarantine).most_common())
    what = (
        f"{failed} of {total} cases failed their checks ({share:.0%}, the limit is {limit:.0%})"
        if accepted
        else f"no case passed its checks, {len(quarantine)} were refused"
    )
    raise DatasetRefusedError(
        f"{what}: {reasons or 'there was none'}. {_most_often(quarantine)}"
        f"Nothing was written. Read {kept.name} beside the dataset's place (the site folder's pseudonyms.csv names "
        "the files), mend or take away what it names and ingest again; or raise --max-refused if this share is expected"
    )


def _most_often(quarantine: tuple[Quarantined, ...]) -> str:
    """The words that stand at most cases, if several say the same: then it is mostly one cause."""
    words = Counter(_ROW.sub("", case.detail) for case in quarantine)
    [(said, count)] = words.most_common(1) or [("", 0)]
    return f"Most often: {said}. " if count > 1 else ""


def _quarantine_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.quarantine.jsonl")


def _report(
    source: CaseSource, settings: IngestSettings, cases: tuple[Case, ...], quarantine: tuple[Quarantined, ...]
) -> IngestReport:
    splits = {split: sum(case.split == split for case in cases) for split in SPLITS}
    return IngestReport(
        site=settings.site,
        task=settings.task.name if settings.task else "",
        phantom=source.phantom,
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        splits=splits,
        quarantined=len(quarantine),
        reasons=dict(sorted(Counter(line.reason for line in quarantine).items())),
        outcomes=outcomes(cases, settings.task),
        missing=missing_values(cases, settings.task),
        warnings=(
            *source.warnings,
            *(
                f"the split {split!r} is empty; {source.mend_split}"
                for split, count in splits.items()
                if not count and (split == "training" or getattr(settings.split, split) > 0)
            ),
            *one_sided(cases, settings.task),
        ),
    )
