"""Check a prepared dataset again: its files, digests, splits, labels and geometry."""

from collections.abc import Iterator, Sequence
from statistics import median

from pydantic import Field

from radfed.dataset.checks import channels_of, check_image, check_label, label_volumes
from radfed.dataset.counts import missing_values, one_sided, outcomes
from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Case, Dataset, entry, read_datalist
from radfed.dataset.records import Record, check_record, record_digest
from radfed.dataset.splits import SPLITS
from radfed.errors import DataError
from radfed.settings import Settings
from radfed.task import OutcomeTask, SegmentationTask


class Problem(Settings):
    """Something that must be mended before the dataset is used."""

    case: str = ""
    code: str
    detail: str


class Range(Settings):
    """Least, middle and largest of some values."""

    least: float
    median: float
    most: float


class QualityReport(Settings):
    """What a dataset holds and what is wrong with it. Free of identifiers and paths."""

    site: str
    task: str
    phantom: bool
    digest: str
    cases: int
    patients: int
    splits: dict[str, int]
    spacing: tuple[Range, ...]
    size: tuple[Range, ...]
    label_volumes: dict[int, Range]
    outcomes: dict[str, int] = Field(default={}, description="Cases of each class, with each finding, or event")
    missing: dict[str, int] = Field(default={}, description="Cases without each covariate")
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = Field(default=(), description="What may be as it should, and should be known")

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(dataset: Dataset, task: SegmentationTask | OutcomeTask | None = None) -> QualityReport:
    """Read every file of a dataset and verify it against the lists, and against a task if one is given.

    Spacing and size are along R, A, S (mm and voxels), volumes in mm^3. Problem codes are the quarantine codes and
    ``missing_file``, ``digest_mismatch``, ``record_mismatch``, ``patient_in_two_splits``, ``datalist_mismatch``,
    ``stray_file``.
    """
    problems = [*_list_problems(dataset), *_folder_problems(dataset)]
    for case in dataset.cases:
        problems.extend(_case_problems(dataset, case, task))
    values = sorted({value for case in dataset.cases for value in case.label_volumes})
    return QualityReport(
        site=dataset.site,
        task=dataset.task,
        phantom=dataset.phantom,
        digest=dataset.digest,
        cases=len(dataset.cases),
        patients=len({case.patient for case in dataset.cases}),
        splits={split: len(dataset.split(split)) for split in SPLITS},
        spacing=_by_axis([case.spacing for case in dataset.cases if case.spacing is not None]),
        size=_by_axis([case.size for case in dataset.cases if case.size is not None]),
        label_volumes={
            value: _range([case.label_volumes[value] for case in dataset.cases if value in case.label_volumes])
            for value in values
        },
        outcomes=outcomes(dataset.cases, task),
        missing=missing_values(dataset.cases, task),
        problems=tuple(problems),
        warnings=tuple(one_sided(dataset.cases, task)),
    )


def _case_problems(dataset: Dataset, case: Case, task: SegmentationTask | OutcomeTask | None) -> Iterator[Problem]:
    """What is wrong with one case's record and files."""
    yield from _record_problems(case, task)
    missing = [relative for relative in case.files if not (dataset.root / relative).is_file()]
    for relative in missing:
        yield Problem(case=case.id, code="missing_file", detail=f"{relative} is not there; ingest again")
    if missing:
        return
    try:
        if case.image is not None:
            yield from _image_problems(dataset, case, task)
        elif channels_of(task):
            yield Problem(case=case.id, code="no_image", detail="the task needs an image")
    except DataError as error:
        yield Problem(case=case.id, code=error.reason, detail=str(error))


def _record_problems(case: Case, task: SegmentationTask | OutcomeTask | None) -> Iterator[Problem]:
    """What is wrong with a case's covariates and outcome."""
    record = Record(case.covariates, case.outcome)
    if record_digest(case.pixels, record) != case.digest:
        yield Problem(case=case.id, code="digest_mismatch", detail="the record was changed; ingest again")
    if not isinstance(task, OutcomeTask):
        return
    try:
        check_record(record, task)
    except DataError as error:
        yield Problem(case=case.id, code=error.reason, detail=str(error))


def _image_problems(dataset: Dataset, case: Case, task: SegmentationTask | OutcomeTask | None) -> Iterator[Problem]:
    """What is wrong with the files of a case with an image."""
    image = dataset.image(case)
    if volume_digest(image) != case.pixels:
        yield Problem(case=case.id, code="digest_mismatch", detail=f"{case.image} was changed; ingest again")
    if image.shape != case.size or image.array.shape[0] != case.channels:
        yield Problem(case=case.id, code="record_mismatch", detail=f"{case.image} is not as cases.jsonl says")
    check_image(image, task)
    if case.label is None:
        if isinstance(task, SegmentationTask):
            yield Problem(case=case.id, code="no_label", detail="the task needs a label")
        return
    label = dataset.label(case)
    if volume_digest(label) != case.label_digest:
        yield Problem(case=case.id, code="digest_mismatch", detail=f"{case.label} was changed; ingest again")
    if label_volumes(label) != case.label_volumes:
        yield Problem(case=case.id, code="record_mismatch", detail=f"{case.label}: other volumes than cases.jsonl")
    check_label(label, image, task.label_values if isinstance(task, SegmentationTask) else None)


def _list_problems(dataset: Dataset) -> Iterator[Problem]:
    """What is wrong between the lists: patients in two splits, cases twice, a datalist that says otherwise."""
    splits: dict[str, set[str]] = {}
    digests: dict[str, str] = {}
    for case in dataset.cases:
        splits.setdefault(case.patient, set()).add(case.split)
        if case.pixels is not None and digests.setdefault(case.pixels, case.id) != case.id:
            yield Problem(case=case.id, code="duplicate", detail=f"the same image as {digests[case.pixels]}")
    for patient, found in splits.items():
        if len(found) > 1:
            detail = f"{patient} is in {', '.join(sorted(found))}; a patient belongs to one split"
            yield Problem(code="patient_in_two_splits", detail=detail)
    datalist = read_datalist(dataset.root)
    for split in SPLITS:
        listed = sorted(tuple(sorted(item.items())) for item in getattr(datalist, split))
        known = sorted(tuple(sorted(entry(case).items())) for case in dataset.split(split))
        if listed != known:
            detail = f"dataset.json and cases.jsonl differ in the split {split!r}; ingest again"
            yield Problem(code="datalist_mismatch", detail=detail)


def _folder_problems(dataset: Dataset) -> Iterator[Problem]:
    """Files in the dataset that no list knows."""
    known = {relative for case in dataset.cases for relative in case.files}
    strays = sum(
        f"{folder}/{path.name}" not in known
        for folder in ("images", "labels")
        if (dataset.root / folder).is_dir()
        for path in (dataset.root / folder).iterdir()
    )
    if strays:
        # Their names are not ours, so they are counted and not shown.
        yield Problem(code="stray_file", detail=f"{strays} file(s) in images/ or labels/ are unlisted; take them away")


def _by_axis(values: Sequence[tuple[float, float, float]]) -> tuple[Range, ...]:
    return tuple(_range([value[axis] for value in values]) for axis in range(3) if values)


def _range(values: list[float] | list[int]) -> Range:
    return Range(least=min(values), median=float(median(values)), most=max(values))
