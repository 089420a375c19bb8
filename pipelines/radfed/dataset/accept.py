"""The last steps of every case, whatever it was read from: check, convert to RAS, write."""

from dataclasses import dataclass, field
from pathlib import Path

from radfed.dataset.checks import check_image, check_label, label_volumes
from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import AgeBand, Case, Projection, Scanner, Sex
from radfed.dataset.pseudonyms import case_pseudonym, patient_pseudonym
from radfed.dataset.records import Record, check_record, record_digest
from radfed.dataset.splits import SplitSettings, split_of
from radfed.imaging.nifti import orientation_of, to_ras, write_image
from radfed.imaging.volume import Volume
from radfed.task import OutcomeTask, SegmentationTask


@dataclass(frozen=True)
class Acceptance:
    """What every case of a site is checked against and named by."""

    secret: bytes = field(repr=False)
    staged: Path
    split: SplitSettings
    task: SegmentationTask | OutcomeTask | None = None


@dataclass(frozen=True)
class Origin:
    """What headers say of a scan, as far as it may stand in ``cases.jsonl``."""

    modality: str = ""
    scanner: Scanner | None = None
    steps: tuple[str, ...] = ()
    defaced: bool | None = None
    sex: Sex | None = None
    age_band: AgeBand | None = None
    projection: Projection | None = None


NO_RECORD = Record()


def accept(
    raw: str,
    patient: str,
    scanned: Volume | None,
    scanned_label: Volume | None,
    how: Acceptance,
    origin: Origin = Origin(),
    record: Record = NO_RECORD,
) -> Case:
    """Check a whole case and write it.

    Args:
        raw: id of the case in its source.
        patient: raw id of the patient.
        scanned: image ``(C, H, W, D)`` in any orientation; None for a case that is a record alone.
        scanned_label: label ``(1, H, W, D)`` in any orientation, or None.
        how: the site's.
        origin: from headers.
        record: what is known beside the image.

    Raises:
        DataError: it failed a check; nothing was written.
    """
    task = how.task
    image = to_ras(scanned) if scanned is not None else None
    label = to_ras(scanned_label) if scanned_label is not None else None
    if label is not None and image is not None:
        check_label(label, image, task.label_values if isinstance(task, SegmentationTask) else None)
        # The affines may differ by what a header loses: from here on the pair lies on one grid.
        label = Volume(label.array, image.affine)
    if image is not None:
        check_image(image, task)
    if isinstance(task, OutcomeTask):
        check_record(record, task)
    pseudonym = case_pseudonym(how.secret, raw)
    pixels = volume_digest(image) if image is not None else None
    digest = record_digest(pixels, record)
    case = Case(
        id=pseudonym,
        patient=patient_pseudonym(how.secret, patient),
        split=record.split or split_of(patient, how.split),
        image=f"images/{pseudonym}.nii.gz" if image is not None else None,
        label=f"labels/{pseudonym}.nii.gz" if label is not None else None,
        digest=digest,
        image_digest=pixels if pixels != digest else None,
        label_digest=volume_digest(label) if label is not None else None,
        channels=image.array.shape[0] if image is not None else 0,
        size=image.shape if image is not None else None,
        spacing=image.spacing if image is not None else None,
        source_orientation=orientation_of(scanned.affine) if scanned is not None else "",
        label_volumes=label_volumes(label) if label is not None else {},
        modality=origin.modality,
        scanner=origin.scanner,
        sex=origin.sex,
        age_band=origin.age_band,
        projection=origin.projection,
        steps=origin.steps,
        defaced=origin.defaced,
        covariates=dict(record.covariates),
        outcome=record.outcome,
    )
    for relative, volume in ((case.image, image), (case.label, label)):
        if relative is not None and volume is not None:
            write_image(how.staged / relative, volume)
    return case


def withdraw(case: Case, staged: Path) -> None:
    """Take a written case back."""
    for relative in case.files:
        (staged / relative).unlink(missing_ok=True)
