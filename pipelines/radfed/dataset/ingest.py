"""Make a prepared dataset from a source folder: check each case, convert what passes, quarantine what fails."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radfed.dataset.checks import check_image, check_label, label_volumes
from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Case, Datalist, Quarantined, entry, write_jsonl, write_lists
from radfed.dataset.orphans import why_alone
from radfed.dataset.pseudonyms import case_pseudonym, patient_pseudonym, write_map
from radfed.dataset.series import read_series
from radfed.dataset.sources import Source, SourceCase, find_cases
from radfed.dataset.splits import SPLITS, SplitSettings, split_of
from radfed.dataset.staging import check_places, replace, staging
from radfed.errors import DataError, DatasetRefusedError, InvalidInputError
from radfed.imaging.nifti import orientation_of, read_label, to_ras, write_image
from radfed.imaging.volume import Volume
from radfed.settings import Settings
from radfed.task import TaskSpec

Progress = Callable[[int, int], None]
"""Called with the number of cases done and the number of all cases."""


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
        patients: raw case id to raw patient id; None takes each case as a patient of its own.
    """

    site: str
    secret: bytes = field(repr=False)
    pseudonyms: Path
    task: TaskSpec | None = None
    max_refused: float = 0.2
    split: SplitSettings = field(default_factory=SplitSettings)
    patients: Mapping[str, str] | None = None


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
    warnings: tuple[str, ...] = ()


def ingest(source: Path, out: Path, settings: IngestSettings, on_progress: Progress | None = None) -> IngestReport:
    """Ingest a folder of NIfTI files into the dataset ``out``, replacing an older dataset only on success.

    Images and labels are written as RAS NIfTI with their original spacing. Splits are by patient.

    Raises:
        InvalidInputError: the source holds no case, ``out`` is something else than a dataset, or the patients'
            mapping misses a case.
        DatasetRefusedError: more than ``max_refused`` of the cases failed; why is kept in ``<out>.quarantine.jsonl``.
    """
    source, out = source.absolute(), out.absolute()
    check_places(source, out, settings.pseudonyms.absolute())
    found = find_cases(source, channels=len(settings.task.channels) if settings.task else 1)
    patients = _patients(found, settings.patients)
    with staging(out) as staged:
        cases, quarantine = _sort_out(found, patients, settings, staged, on_progress or (lambda _done, _total: None))
        _keep_map(found, patients, settings)
        _refuse_if_too_many(len(cases), quarantine, settings.max_refused, out)
        write_lists(staged, _datalist(found, settings, cases), cases, quarantine)
        replace(staged, out)
    _quarantine_beside(out).unlink(missing_ok=True)
    return _report(found, settings, cases, quarantine)


def _sort_out(
    found: Source, patients: Mapping[str, str], settings: IngestSettings, staged: Path, on_progress: Progress
) -> tuple[tuple[Case, ...], tuple[Quarantined, ...]]:
    """Judge each case: write what passes under ``staged``, list what fails."""
    needs_label = settings.task is not None or found.labelled
    whole: list[SourceCase] = []
    alone: list[SourceCase] = []
    for item in found.cases:
        complete = bool(item.images) and item.place != "stray" and (item.label is not None or not needs_label)
        (whole if complete else alone).append(item)
    cases: dict[str, Case] = {}  # by digest
    refused: dict[str, DataError] = {}
    for done, item in enumerate(whole, start=1):
        try:
            case = _accept(item, patients[item.id], settings, staged, cases)
            cases[case.digest] = case
        except DataError as error:
            refused[item.id] = error
        on_progress(done, len(found.cases))
    # Last, because how a lone file compares with the good cases tells why it is alone.
    for done, item in enumerate(alone, start=len(whole) + 1):
        refused[item.id] = why_alone(item, settings.task, tuple(cases.values()))
        on_progress(done, len(found.cases))
    lines = [
        Quarantined(id=case_pseudonym(settings.secret, raw), reason=error.reason, detail=str(error))
        for raw, error in refused.items()
    ]
    return tuple(cases.values()), tuple(sorted(lines, key=lambda line: line.id))


def _accept(
    item: SourceCase, patient: str, settings: IngestSettings, staged: Path, accepted: Mapping[str, Case]
) -> Case:
    """Check a whole case and write it.

    Raises:
        DataError: it failed a check; nothing was written.
    """
    scanned = read_series(item.images, item.channels)
    image = to_ras(scanned)
    label = to_ras(read_label(item.label)) if item.label else None
    if label is not None:
        check_label(label, image, settings.task.label_values if settings.task else None)
        # The affines may differ by what a header loses: from here on the pair lies on one grid.
        label = Volume(label.array, image.affine)
    check_image(image, settings.task)
    digest = volume_digest(image)
    if digest in accepted:
        raise DataError("duplicate", f"the same image as {accepted[digest].id}; keep one of the two")
    pseudonym = case_pseudonym(settings.secret, item.id)
    case = Case(
        id=pseudonym,
        patient=patient_pseudonym(settings.secret, patient),
        split=split_of(patient, settings.split),
        image=f"images/{pseudonym}.nii.gz",
        label=f"labels/{pseudonym}.nii.gz" if label is not None else None,
        digest=digest,
        label_digest=volume_digest(label) if label is not None else None,
        channels=image.array.shape[0],
        size=image.shape,
        spacing=image.spacing,
        source_orientation=orientation_of(scanned.affine),
        label_volumes=label_volumes(label) if label is not None else {},
    )
    write_image(staged / case.image, image)
    if label is not None and case.label is not None:
        write_image(staged / case.label, label)
    return case


def _patients(found: Source, mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Raw patient id of each case that could go on."""
    ids = [case.id for case in found.cases if case.images and case.place != "stray"]
    if mapping is None:
        return {raw: raw for raw in ids}
    missing = [raw for raw in ids if raw not in mapping]
    if missing:
        raise InvalidInputError(
            f"the patients' mapping misses {len(missing)} of {len(ids)} cases, for example {missing[0]!r}; "
            "give every case its patient, or one patient could end up in two splits"
        )
    return {raw: mapping[raw] for raw in ids}


def _keep_map(found: Source, patients: Mapping[str, str], settings: IngestSettings) -> None:
    """Keep the way back from pseudonyms to raw ids, quarantined cases included, in the site's folder."""
    pairs = [(case_pseudonym(settings.secret, case.id), case.id) for case in found.cases]
    pairs += [(patient_pseudonym(settings.secret, raw), raw) for raw in patients.values()]
    write_map(settings.pseudonyms, pairs)


def _refuse_if_too_many(accepted: int, quarantine: tuple[Quarantined, ...], limit: float, out: Path) -> None:
    """Raise if too large a share failed, or nothing is left; the reasons are kept beside ``out``."""
    total = accepted + len(quarantine)
    share = len(quarantine) / total
    if accepted and share <= limit:
        return
    kept = _quarantine_beside(out)
    beside = kept.with_name(f".{kept.name}.{os.getpid()}")
    write_jsonl(beside, quarantine)
    os.replace(beside, kept)
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(q.reason for q in quarantine).most_common())
    raise DatasetRefusedError(
        f"{len(quarantine)} of {total} cases failed their checks ({share:.0%}, the limit is {limit:.0%}): {reasons}. "
        f"Nothing was written. Read {kept.name} beside the dataset's place (the site folder's pseudonyms.csv names "
        "the files), mend or take away those files and ingest again; or raise --max-refused if this share is expected"
    )


def _quarantine_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.quarantine.jsonl")


def _datalist(found: Source, settings: IngestSettings, cases: tuple[Case, ...]) -> Datalist:
    """The content of ``dataset.json``."""
    task = settings.task
    names = {label.value: label.name for label in task.labels} if task else dict(found.label_names)
    for value in sorted({value for case in cases for value in case.label_volumes}):
        names.setdefault(value, f"label_{value}")
    ordered = sorted(cases, key=lambda case: case.digest)
    what = "PHANTOM data: made up, no patient was scanned" if found.phantom else "Prepared by radfed ingest"
    lists = {split: tuple(entry(case) for case in ordered if case.split == split) for split in SPLITS}
    count = max((case.channels for case in cases), default=1)
    channels = [channel.name for channel in task.channels] if task else [f"channel_{index}" for index in range(count)]
    return Datalist(
        name=task.name if task else "images",
        description=what,
        site=settings.site,
        task=task.name if task else "",
        phantom=found.phantom,
        labels={"0": "background", **{str(value): names[value] for value in sorted(names)}},
        channels={str(index): name for index, name in enumerate(channels)},
        training=lists["training"],
        validation=lists["validation"],
        test=lists["test"],
    )


def _report(
    found: Source, settings: IngestSettings, cases: tuple[Case, ...], quarantine: tuple[Quarantined, ...]
) -> IngestReport:
    splits = {split: sum(case.split == split for case in cases) for split in SPLITS}
    return IngestReport(
        site=settings.site,
        task=settings.task.name if settings.task else "",
        phantom=found.phantom,
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        splits=splits,
        quarantined=len(quarantine),
        reasons=dict(sorted(Counter(line.reason for line in quarantine).items())),
        warnings=tuple(
            f"the split {split!r} is empty; ingest more patients, or try another --split-seed"
            for split, count in splits.items()
            if not count and (split == "training" or getattr(settings.split, split) > 0)
        ),
    )
