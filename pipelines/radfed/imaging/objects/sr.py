"""Volumes to a DICOM structured report: TID 1500 Measurement Report, one TID 1411 group per label.

Nobody has verified what a model says: the report is complete as far as the model goes, preliminary and unverified
(PS3.3 C.17.2), and for research. Only who has reviewed it can make it final and verified. A label that was not found is
reported with 0 ml, so that the reader learns that it was looked for.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset

from radfed.errors import DataError
from radfed.imaging.objects.codes import category_term, label_term
from radfed.imaging.objects.equipment import MANUFACTURER, equipment
from radfed.imaging.objects.seg import series_number
from radfed.imaging.objects.sources import Identity, first_file, foreign, read_header, read_identity, source_files
from radfed.imaging.objects.template import read_template, save
from radfed.imaging.objects.uids import Naming, fresh
from radfed.task import Label, SegmentationTask

if TYPE_CHECKING:
    from highdicom.sr import MeasurementReport, ObservationContext, VolumetricROIMeasurementsAndQualitativeEvaluations

    from radfed.imaging.dicom.scanned import ScannedVolume

_PROCEDURES = {"CT": "CTUnspecifiedBodyRegion", "MR": "MRIUnspecifiedBodyRegion", "PT": "PETUnspecifiedBodyRegion"}
"""CID 100 by Modality."""


@dataclass(frozen=True)
class Verification:
    """Who answers for a report (PS3.3 C.17.2).

    Attributes:
        name: VerifyingObserverName, a DICOM person name with its ``^``.
        organisation: VerifyingOrganization.
        time: when, with its time zone.
    """

    name: str
    organisation: str
    time: datetime


def write_sr(
    path: Path,
    seg: Path,
    volumes_ml: Mapping[str, float],
    scanned: "ScannedVolume",
    task: SegmentationTask,
    software_version: str,
    images: Sequence[Path] = (),
    naming: Naming = fresh,
    verified: Verification | None = None,
) -> None:
    """Write the volumes of a mask as a report that refers to the segments of its SEG.

    Args:
        path: the file to write.
        seg: the SEG that ``write_seg`` wrote with the same task.
        volumes_ml: volume (ml) by label name, 0 for what was not found.
        scanned: the volume that the mask lies on.
        task: what the labels mean.
        software_version: of radfed.
        images: files of the series, where the volume was resampled and names no sources.
        naming: UIDs of what is made.
        verified: who has looked at it and answers for it; None leaves the report preliminary and unverified.

    Raises:
        DataError: ``unknown_label`` or ``label_reference`` (no source image is known).
    """
    unknown = sorted(set(volumes_ml) - {label.name for label in task.labels})
    if unknown:
        raise DataError("unknown_label", f"got volumes of {', '.join(unknown)}, which the task does not know")
    template = read_template(first_file(scanned, images))
    identities = [read_identity(file) for file in source_files(scanned) or images]
    segmentation = read_header(seg)
    with foreign():  # the patient's attributes are copied as they stand, oddities included
        report = _report(segmentation, volumes_ml, identities[0].series, task, software_version, template)
        evidence = [template, *_evidence(identities, template), segmentation]
        _write(path, report, evidence, task, software_version, naming, verified)


def _write(
    path: Path,
    report: "MeasurementReport",
    evidence: list[Dataset],
    task: SegmentationTask,
    software_version: str,
    naming: Naming,
    verified: Verification | None,
) -> None:
    from highdicom.sr import Comprehensive3DSR
    from pydicom.valuerep import DT

    document = Comprehensive3DSR(
        evidence=evidence,
        content=report,
        series_instance_uid=naming("sr series"),
        series_number=series_number(evidence[0]) + 1,
        sop_instance_uid=naming("sr"),
        instance_number=1,
        **equipment(task, software_version),
        series_description=f"{task.name} {task.version} volumes"[:64],
        is_complete=True,
        is_final=verified is not None,
        is_verified=verified is not None,
        verifying_observer_name=verified.name if verified else None,
        verifying_organization=verified.organisation if verified else None,
    )
    if verified:
        document.VerifyingObserverSequence[0].VerificationDateTime = DT(verified.time)
    save(document, path)


def _evidence(identities: Sequence[Identity], template: Dataset) -> list[Dataset]:
    """The source images, as far as a report lists them."""
    listed = []
    for identity in identities:
        image = Dataset()
        image.StudyInstanceUID = template.StudyInstanceUID
        image.SeriesInstanceUID = identity.series
        image.SOPClassUID = identity.sop_class
        image.SOPInstanceUID = identity.sop_instance
        listed.append(image)
    return listed


def _report(
    segmentation: Dataset,
    volumes_ml: Mapping[str, float],
    series: str,
    task: SegmentationTask,
    software_version: str,
    template: Dataset,
) -> "MeasurementReport":
    from highdicom.sr import MeasurementReport
    from pydicom.sr.codedict import codes

    procedure = _PROCEDURES.get(str(template.get("Modality")), "ImagingProcedure")
    return MeasurementReport(
        observation_context=_observer(task, software_version),
        procedure_reported=getattr(codes.CID100, procedure),
        imaging_measurements=[
            _group(label, number, volumes_ml[label.name], segmentation, series, task, software_version)
            for number, label in enumerate(task.labels, start=1)
            if label.name in volumes_ml
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )


def _observer(task: SegmentationTask, software_version: str) -> "ObservationContext":
    """The device that observed: the task's model, whose UID follows from the task."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    uid = int(hashlib.sha256(f"{task.digest} {software_version}".encode()).hexdigest()[:32], 16)
    device = DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{uid}",
        name=f"{task.name} {task.version}",
        manufacturer_name=MANUFACTURER,
        model_name=task.name,
        serial_number=task.digest[:16],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    )


def _group(
    label: Label,
    number: int,
    volume_ml: float,
    segmentation: Dataset,
    series: str,
    task: SegmentationTask,
    software_version: str,
) -> "VolumetricROIMeasurementsAndQualitativeEvaluations":
    """The volume of one segment, under the tracking identifiers that the SEG gave it."""
    from highdicom.sr import (
        AlgorithmIdentification,
        CodedConcept,
        Measurement,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.sr.codedict import codes

    segment = segmentation.SegmentSequence[number - 1]
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=segment.TrackingUID, identifier=segment.TrackingID),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(series),
        ),
        finding_type=CodedConcept.from_code(label_term(label)),
        finding_category=CodedConcept.from_code(category_term(label)),
        algorithm_id=AlgorithmIdentification(
            name=task.name, version=task.version, parameters=[f"radfed {software_version}", f"task {task.digest}"]
        ),
        measurements=[
            Measurement(
                name=codes.SCT.Volume,
                value=round(float(volume_ml), 3) + 0.0,
                unit=CodedConcept("ml", "UCUM", "milliliter"),
            )
        ],
    )
