"""One case from DICOM series and the labels that refer to them. Runs in a worker process."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from radfed.dataset.accept import Acceptance, Origin, accept
from radfed.dataset.channels import one_image
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Scanner
from radfed.errors import DataError
from radfed.imaging.deid.heads import is_head
from radfed.imaging.deid.pixels import check_pixel_risk
from radfed.imaging.deid.residual import identifying_values, residual_hits
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import ScannedVolume, read_series
from radfed.imaging.dicom.selection import SelectedCase
from radfed.imaging.nifti import read_label
from radfed.imaging.objects.grid import reorient_label
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.nifti_labels import match_nifti_label
from radfed.imaging.objects.structures import Structure, read_structures
from radfed.imaging.volume import Volume
from radfed.task import TaskSpec


@dataclass(frozen=True)
class CaseWork:
    """All that a worker needs to make one case.

    Attributes:
        case: its series.
        patient: raw id of the patient.
        labels: SEG and RTSTRUCT files that refer to one of the series.
        nifti_labels: NIfTI files that no other case is named by; one belongs to it if name or grid says so.
        how: what it is checked against and where it is written.
        reading: what reading may do to voxels.
        deidentification: what is a risk.
    """

    case: SelectedCase
    patient: str
    labels: tuple[Path, ...]
    nifti_labels: tuple[Path, ...]
    how: Acceptance
    reading: ReadOptions
    deidentification: DeidSettings


def make_case(work: CaseWork) -> Judgement:
    """Read, check and write one case, or say why not."""
    try:
        return _case(work)
    except DataError as error:
        return Judgement(work.case.id, work.patient, error)


def case_names(case: SelectedCase) -> dict[str, str]:
    """What a label file may be named after, by kind."""
    first = case.channels[0]
    folder = first.first.path.parent.name
    return {"series": first.uid, "study": case.study, "patient": case.patient, "folder": folder}


def _case(work: CaseWork) -> Judgement:
    for series in work.case.channels:
        check_pixel_risk(series.instances, work.deidentification)
    scans = [read_series(series, work.reading) for series in work.case.channels]
    task, volumes = work.how.task, [scan.volume for scan in scans]
    image = volumes[0] if task is None else one_image(volumes, task)
    label = _label(work, scans[0])
    first = work.case.channels[0]
    origin = Origin(
        modality=first.modality,
        scanner=Scanner(manufacturer=first.manufacturer, model=first.model, field_strength=first.first.field_strength),
        steps=tuple(dict.fromkeys(step for steps in (*(scan.steps for scan in scans), label.steps) for step in steps)),
        defaced=False if is_head(first.first) else None,
    )
    # Before anything is written.
    _check_residue(origin, label.names, work)
    case = accept(work.case.id, work.patient, image, label.volume, work.how, origin)
    return Judgement(work.case.id, work.patient, case, label.names, label.file, label.refused)


@dataclass(frozen=True)
class _FoundLabel:
    """A label on the grid of the first channel, or none.

    Attributes:
        volume: ``(1, H, W, D)``.
        names: of its values, where the source gives them.
        steps: what was done beyond plain reading.
        file: the NIfTI file that it came from.
        refused: label objects that could not be used, although others could.
    """

    volume: Volume | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    file: Path | None = None
    refused: Mapping[Path, DataError] = field(default_factory=dict)


def _label(work: CaseWork, scanned: ScannedVolume) -> _FoundLabel:
    """The label that belongs to the first channel, if there is one."""
    task, grid = work.how.task, scanned.volume
    if work.labels:
        return _from_objects(work.labels, scanned, task)
    path = match_nifti_label(work.nifti_labels, grid, case_names(work.case))
    if path is not None:
        return _FoundLabel(reorient_label(read_label(path), grid), file=path)
    if task is not None:
        raise DataError("no_label", "no SEG, RTSTRUCT or NIfTI label belongs to the series; draw it, or leave it out")
    return _FoundLabel()


def _from_objects(paths: tuple[Path, ...], scanned: ScannedVolume, task: TaskSpec | None) -> _FoundLabel:
    """The label that SEG and RTSTRUCT files give together; one that cannot be used does not spoil the others.

    Raises:
        DataError: of the first file, if none can be used; or of the mapping.
    """
    structures: list[Structure] = []
    refused: dict[Path, DataError] = {}
    for path in paths:
        try:
            structures += read_structures(path, scanned)
        except DataError as error:
            refused[path] = error
    if len(refused) == len(paths):
        raise next(iter(refused.values()))
    volume, names = to_label(structures, scanned.volume, task)
    steps = [step for structure in structures for step in structure.steps]
    if refused:
        steps.append(f"left out {len(refused)} of {len(paths)} label objects, which could not be used")
    return _FoundLabel(volume, names, tuple(steps), refused=refused)


def _check_residue(origin: Origin, names: Mapping[int, str], work: CaseWork) -> None:
    """Look for what identifies the patient in all that the dataset will say in the words of its source.

    Keys, digests and pseudonyms are ours, and a patient may be called Case or Field: they are not searched.

    Raises:
        DataError: ``residual_identifier``, or ``unreadable`` if the headers cannot be searched.
    """
    scanner = (origin.scanner.manufacturer, origin.scanner.model) if origin.scanner else ()
    said = "\n".join((origin.modality, *scanner, *names.values()))
    for series in work.case.channels:
        for path in {series.instances[0].path, series.instances[-1].path}:
            if residual_hits(said, _identifying(path)):
                raise DataError(
                    "residual_identifier",
                    "an identifying value of the headers would stand in cases.jsonl or dataset.json, in the scanner's "
                    "name or a label's; mend the headers or the label",
                )


def _identifying(path: Path) -> frozenset[str]:
    try:
        with warnings.catch_warnings():
            # pydicom warns about odd values; here every value counts as it stands.
            warnings.simplefilter("ignore")
            return identifying_values(pydicom.dcmread(path, stop_before_pixels=True, force=True))
    except PYDICOM_ERRORS as error:
        raise DataError(
            "unreadable", f"the headers cannot be searched for what identifies ({type(error).__name__})"
        ) from error
