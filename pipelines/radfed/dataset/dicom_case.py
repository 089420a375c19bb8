"""One case from DICOM series and the labels that refer to them. Runs in a worker process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radfed.dataset.accept import Acceptance, Origin, accept
from radfed.dataset.channels import one_image
from radfed.dataset.header_traits import header_traits
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Scanner
from radfed.dataset.residue import check_residue
from radfed.errors import DataError
from radfed.imaging.deid.heads import is_head
from radfed.imaging.deid.pixels import check_pixel_risk
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import ScannedVolume, read_series
from radfed.imaging.dicom.selection import SelectedCase
from radfed.imaging.nifti import read_label
from radfed.imaging.objects.grid import reorient_label
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.nifti_labels import match_nifti_label
from radfed.imaging.objects.structures import Structure, read_structures
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask


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
    task = _segmentation(work)
    scans = [read_series(series, work.reading.of(task)) for series in work.case.channels]
    volumes = [scan.volume for scan in scans]
    image = volumes[0] if task is None else one_image(volumes, task)
    label = _label(work, scans[0])
    first = work.case.channels[0]
    origin = Origin(
        modality=first.modality,
        scanner=Scanner(manufacturer=first.manufacturer, model=first.model, field_strength=first.first.field_strength),
        steps=tuple(dict.fromkeys(step for steps in (*(scan.steps for scan in scans), label.steps) for step in steps)),
        defaced=False if is_head(first.first) else None,
        **header_traits(first.first.path, work.deidentification),
    )
    # Before anything is written.
    check_residue(origin, label.names.values(), work.case.channels)
    case = accept(work.case.id, work.patient, image, label.volume, work.how, origin)
    return Judgement(work.case.id, work.patient, case, label.names, label.file, label.refused)


def _segmentation(work: CaseWork) -> SegmentationTask | None:
    return work.how.task if isinstance(work.how.task, SegmentationTask) else None


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
    task, grid = _segmentation(work), scanned.volume
    if work.labels:
        return _from_objects(work.labels, scanned, task)
    path = match_nifti_label(work.nifti_labels, grid, case_names(work.case))
    if path is not None:
        return _FoundLabel(reorient_label(read_label(path), grid), file=path)
    if task is not None:
        raise DataError("no_label", "no SEG, RTSTRUCT or NIfTI label belongs to the series; draw it, or leave it out")
    return _FoundLabel()


def _from_objects(paths: tuple[Path, ...], scanned: ScannedVolume, task: SegmentationTask | None) -> _FoundLabel:
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
