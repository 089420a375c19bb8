"""A mask to DICOM SEG: one binary segment per label of the task, in the source's frame of reference.

Every label of the task is described, whether it was found or not, so that a reader of the SEG knows what was looked
for. A label that was not found has no frame; if none was found, the SEG has one empty frame a label, because it must
have frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radfed.errors import DataError
from radfed.imaging.objects.codes import category_term, label_term
from radfed.imaging.objects.equipment import MANUFACTURER, equipment
from radfed.imaging.objects.sources import Identity, first_file, foreign, read_identity, source_files
from radfed.imaging.objects.template import (
    as_single_frame,
    directions,
    plane_sequences,
    position,
    read_template,
    reference,
    save,
)
from radfed.imaging.objects.uids import Naming, fresh
from radfed.task import SegmentationTask

if TYPE_CHECKING:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription

    from radfed.imaging.dicom.scanned import ScannedVolume

SERIES_OFFSET = 9000
"""Added to the SeriesNumber of the images: viewers sort by it, and results belong behind them."""


def write_seg(
    path: Path,
    mask: NDArray[np.uint8],
    scanned: "ScannedVolume",
    task: SegmentationTask,
    software_version: str,
    images: Sequence[Path] = (),
    naming: Naming = fresh,
    verified: bool = False,
) -> None:
    """Write a mask as SEG, in the study and for the patient of its source images.

    Segment number ``i + 1`` is entry ``i`` of the task's labels. Slices refer to the images, or the frames of a
    multi-frame image, that they were read from; an interpolated slice refers to none.

    Args:
        path: the file to write.
        mask: label values ``(H, W, D)`` on the grid of the volume.
        scanned: the volume, as it was read.
        task: what the values mean.
        software_version: of radfed.
        images: files of the series, for patient and study, where the volume was resampled and names no sources.
        naming: UIDs of what is made.
        verified: whether somebody who has looked at the mask answers for it.

    Raises:
        DataError: ``shape_mismatch``, ``unknown_label``, ``label_reference`` (no source image is known) or
            ``missing_geometry`` (the source has no frame of reference).
    """
    _check(mask, scanned, task)
    template = read_template(first_file(scanned, images))
    with foreign():  # the patient's attributes are copied as they stand, oddities included
        seg = _segmentation(mask, scanned, task, software_version, template, naming, verified)
        _refer(seg, scanned, [read_identity(file) for file in source_files(scanned) or images])
        save(seg, path)


def _check(mask: NDArray[np.uint8], scanned: "ScannedVolume", task: SegmentationTask) -> None:
    if mask.shape != scanned.volume.shape:
        raise DataError("shape_mismatch", f"the mask has the shape {mask.shape}, the volume {scanned.volume.shape}")
    unknown = sorted({int(value) for value in np.unique(mask)} - {0, *task.label_values})
    if unknown:
        raise DataError("unknown_label", f"got the label value(s) {unknown}; allowed: 0 and {task.label_values}")


def _segmentation(
    mask: NDArray[np.uint8],
    scanned: "ScannedVolume",
    task: SegmentationTask,
    software_version: str,
    template: Dataset,
    naming: Naming,
    verified: bool,
) -> "Segmentation":
    """The SEG of the slices that show something, without references."""
    from highdicom.seg import Segmentation, SegmentationTypeValues

    slices = [int(index) for index in np.flatnonzero(mask.any(axis=(0, 1)))] or [mask.shape[2] // 2]
    numbers = np.zeros(256, dtype=np.uint8)
    numbers[list(task.label_values)] = range(1, len(task.labels) + 1)
    measures, orientation, positions = plane_sequences(scanned.volume, slices)
    return Segmentation(
        source_images=[as_single_frame(template, scanned.volume)],
        pixel_array=np.ascontiguousarray(numbers[mask[:, :, slices]].transpose(2, 1, 0)),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=_descriptions(task, software_version, naming),
        series_instance_uid=naming("seg series"),
        series_number=series_number(template),
        sop_instance_uid=naming("seg"),
        instance_number=1,
        **equipment(task, software_version),
        series_description=f"{task.name} {task.version}"[:64],
        content_label="RADFED",
        content_description=f"{task.name} {task.version}, {'verified' if verified else 'not verified'}"[:64],
        pixel_measures=measures,
        plane_orientation=orientation,
        plane_positions=positions,
        omit_empty_frames=bool(mask.any()),
    )


def series_number(template: Dataset) -> int:
    """The number of a series of results, behind those of the images."""
    return SERIES_OFFSET + int(template.get("SeriesNumber") or 0) % SERIES_OFFSET


def algorithm(task: SegmentationTask, software_version: str) -> "AlgorithmIdentificationSequence":
    """What found the segments: the task and its version; the program and its version are parameters."""
    from highdicom import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes

    return AlgorithmIdentificationSequence(
        name=task.name,
        family=codes.CID7162.ArtificialIntelligence,
        version=task.version,
        source=MANUFACTURER,
        parameters={"radfed": software_version, "task": task.digest},
    )


def _descriptions(task: SegmentationTask, software_version: str, naming: Naming) -> "list[SegmentDescription]":
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription

    return [
        SegmentDescription(
            segment_number=number,
            segment_label=label.name,
            segmented_property_category=category_term(label),
            segmented_property_type=label_term(label),
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm(task, software_version),
            tracking_uid=naming(f"tracking {label.name}"),
            tracking_id=f"{task.name}/{label.name}",
        )
        for number, label in enumerate(task.labels, start=1)
    ]


def _refer(seg: "Segmentation", scanned: "ScannedVolume", identities: Sequence[Identity]) -> None:
    """Refer to the source instances as a whole, and from each frame to the image of its slice."""
    seg.SourceImageSequence = [reference(identity) for identity in identities]
    series = []
    for uid in dict.fromkeys(identity.series for identity in identities):
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = [reference(identity) for identity in identities if identity.series == uid]
        series.append(item)
    seg.ReferencedSeriesSequence = series
    # A resampled volume has no files of its own, and so no slice that could look one up.
    by_file = dict(zip(source_files(scanned), identities, strict=False))
    normal, spacing = directions(scanned.volume)[2], scanned.volume.spacing[2]
    start = position(scanned.volume, 0)
    for group in seg.PerFrameFunctionalGroupsSequence:
        here = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
        index = round(float((here - start) @ normal) / spacing)
        source = scanned.sources[0][index] if scanned.sources else ()
        group.DerivationImageSequence = [_derivation(by_file[source[0]], source[1])] if source else []


def _derivation(identity: Identity, frame: int) -> Dataset:
    """The item that says: this frame is a segmentation of that image, or of a frame of it counted from 0."""
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    image = reference(identity)
    if identity.multi_frame:
        image.ReferencedFrameNumber = frame + 1
    image.SpatialLocationsPreserved = "YES"
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    image.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(purpose)]
    item = Dataset()
    item.SourceImageSequence = [image]
    item.DerivationCodeSequence = [CodedConcept.from_code(codes.CID7203.SegmentationImageDerivation)]
    return item
