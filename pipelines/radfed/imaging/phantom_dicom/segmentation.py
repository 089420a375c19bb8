"""A phantom's organs as DICOM SEG, as a foreign annotation tool writes it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite

from radfed.imaging.phantom_dicom.header import IMPLEMENTATION_NAME, later, make_uid
from radfed.imaging.phantom_dicom.patient import FakePatient
from radfed.imaging.phantoms import LABELS, LIVER, SPLEEN

CODES = {LIVER: ("10200004", "Liver"), SPLEEN: ("78961009", "Spleen")}
"""SNOMED CT code and meaning of each organ (DICOM CID 7151)."""


def write_phantom_seg(
    path: Path, label: NDArray[np.uint8], sources: Sequence[Path], patient: FakePatient, *, seed: int
) -> None:
    """Write a label array ``(H, W, D)`` as a binary SEG of the series that ``write_series`` made on the same grid.

    Args:
        path: of the SEG.
        label: 1 liver, 2 spleen; the axes of the volume that the series was made of.
        sources: the files of the series, as ``write_series`` returned them, without faults.
        patient: whose visit it is.
        seed: of the UIDs.
    """
    from highdicom import UID
    from highdicom.content import PersonName
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
    from highdicom.sr import CodedConcept

    images = [dcmread(source) for source in sources]
    organ = CodedConcept("123037004", "SCT", "Anatomical Structure")
    segments = [
        SegmentDescription(
            segment_number=value,
            segment_label=name,
            segmented_property_category=organ,
            segmented_property_type=CodedConcept(CODES[value][0], "SCT", CODES[value][1]),
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=UID(make_uid("tracking", images[0].SeriesInstanceUID, seed, value)),
            tracking_id=name,
        )
        for value, name in LABELS.items()
    ]
    series = make_uid("seg series", images[0].SeriesInstanceUID, seed)
    made = Segmentation(
        source_images=images,
        pixel_array=np.ascontiguousarray(label.transpose(2, 1, 0)),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=series,
        series_number=int(images[0].SeriesNumber) + 100,
        sop_instance_uid=make_uid("seg", series),
        instance_number=1,
        manufacturer="PHANTOM",
        manufacturer_model_name="Phantom Annotator",
        software_versions="radfed.phantom",
        device_serial_number="0",
        content_creator_name=PersonName(patient.operator),
        series_description="organs",
    )
    _make_reproducible(made, patient)
    beside = path.with_name(f".{path.name}")
    dcmwrite(beside, made, enforce_file_format=True)
    os.replace(beside, path)


def _make_reproducible(made: Dataset, patient: FakePatient) -> None:
    """Replace what highdicom takes from the clock, from chance and from its own version."""
    organisation = make_uid("seg dimensions", made.SeriesInstanceUID)
    for part in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        part.DimensionOrganizationUID = organisation
    made.InstanceCreationDate = made.ContentDate = made.SeriesDate = patient.study_date
    made.InstanceCreationTime = made.ContentTime = made.SeriesTime = later(patient, 3600)
    if "ContributingEquipmentSequence" in made:
        del made.ContributingEquipmentSequence
    made.file_meta.ImplementationClassUID = make_uid("implementation", IMPLEMENTATION_NAME)
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
