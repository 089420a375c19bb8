"""The last steps of every case, whatever it was read from: check, convert to RAS, write."""

from dataclasses import dataclass, field
from pathlib import Path

from radfed.dataset.checks import check_image, check_label, label_volumes
from radfed.dataset.digests import volume_digest
from radfed.dataset.layout import Case, Scanner
from radfed.dataset.pseudonyms import case_pseudonym, patient_pseudonym
from radfed.dataset.splits import SplitSettings, split_of
from radfed.imaging.nifti import orientation_of, to_ras, write_image
from radfed.imaging.volume import Volume
from radfed.task import TaskSpec


@dataclass(frozen=True)
class Acceptance:
    """What every case of a site is checked against and named by."""

    secret: bytes = field(repr=False)
    staged: Path
    split: SplitSettings
    task: TaskSpec | None = None


@dataclass(frozen=True)
class Origin:
    """What headers say of a scan, as far as it may stand in ``cases.jsonl``."""

    modality: str = ""
    scanner: Scanner | None = None
    steps: tuple[str, ...] = ()
    defaced: bool | None = None


def accept(
    raw: str, patient: str, scanned: Volume, scanned_label: Volume | None, how: Acceptance, origin: Origin = Origin()
) -> Case:
    """Check a whole case and write it.

    Args:
        raw: id of the case in its source.
        patient: raw id of the patient.
        scanned: image ``(C, H, W, D)`` in any orientation.
        scanned_label: label ``(1, H, W, D)`` in any orientation, or None.
        how: the site's.
        origin: from headers.

    Raises:
        DataError: it failed a check; nothing was written.
    """
    image = to_ras(scanned)
    label = to_ras(scanned_label) if scanned_label is not None else None
    if label is not None:
        check_label(label, image, how.task.label_values if how.task else None)
        # The affines may differ by what a header loses: from here on the pair lies on one grid.
        label = Volume(label.array, image.affine)
    check_image(image, how.task)
    pseudonym = case_pseudonym(how.secret, raw)
    case = Case(
        id=pseudonym,
        patient=patient_pseudonym(how.secret, patient),
        split=split_of(patient, how.split),
        image=f"images/{pseudonym}.nii.gz",
        label=f"labels/{pseudonym}.nii.gz" if label is not None else None,
        digest=volume_digest(image),
        label_digest=volume_digest(label) if label is not None else None,
        channels=image.array.shape[0],
        size=image.shape,
        spacing=image.spacing,
        source_orientation=orientation_of(scanned.affine),
        label_volumes=label_volumes(label) if label is not None else {},
        modality=origin.modality,
        scanner=origin.scanner,
        steps=origin.steps,
        defaced=origin.defaced,
    )
    write_image(how.staged / case.image, image)
    if label is not None and case.label is not None:
        write_image(how.staged / case.label, label)
    return case


def withdraw(case: Case, staged: Path) -> None:
    """Take a written case back."""
    for relative in (case.image, case.label):
        if relative:
            (staged / relative).unlink(missing_ok=True)
