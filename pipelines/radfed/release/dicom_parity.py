"""The DICOM part of the parity gate: from the files to the mask in the scanner's space, and back into a SEG."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydicom.uid import UID

from radfed.dataset.channels import one_image
from radfed.errors import GateError, RadfedError
from radfed.imaging.dicom.index import Series
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import ScannedVolume, read_series
from radfed.imaging.nifti import read_label, write_mask
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.seg import write_seg
from radfed.imaging.objects.structures import read_structures
from radfed.imaging.volume import Volume
from radfed.inference.segment import segment
from radfed.inference.sliding_window import Predictor
from radfed.release.witness import read_planes, segment_points
from radfed.settings import Settings
from radfed.task import SegmentationTask

DISTANCE_TOLERANCE_MM = 1e-2
"""Decimal text in headers and float32 in NIfTI lose less; half a voxel, or a mirrored axis, is far more."""

IRREGULARITY = 0.011
"""Share of their distance by which slices may be off their place in a regular stack."""

_SOFTWARE = "radfed parity gate"
_NOWHERE = "DICOM puts them elsewhere"


class DicomCheck(Settings):
    """Torch against ONNX Runtime from the DICOM files to a SEG.

    It travels with the release, so it says nothing of a patient's scan.
    """

    case: int
    made_up: bool = Field(description="Whether the gate made the files, or was given them")
    transfer_syntax: str = Field(description="Of the files")
    frames: int | None = Field(description="Images that were read; not said of a patient's scan")
    disagreement: float = Field(description="Share of voxels whose label differs, read back from both SEGs")
    labelled: bool = Field(description="Whether torch found any structure")
    largest_distance_mm: float = Field(description="Between where the SEG and the NIfTI mask put a voxel in the world")


@dataclass(frozen=True)
class DicomCase:
    """A case to segment.

    Attributes:
        channels: a series each.
        made_up: whether no patient was scanned.
    """

    channels: tuple[Series, ...]
    made_up: bool


def check_dicom(
    number: int, case: DicomCase, task: SegmentationTask, reference: Predictor, model: Predictor, tolerance: float
) -> DicomCheck:
    """Read a case, segment it with both, write both masks as SEG and NIfTI, and read them again.

    Besides the two masks a made-up one with every label goes the way to the SEG and back, so that an axis that is
    mirrored or moved is seen even if the network finds nothing.

    Args:
        number: of the case, for messages.
        case: its series.
        task: the contract.
        reference: torch.
        model: ONNX Runtime.
        tolerance: share of voxels that may differ.

    Raises:
        GateError: a step failed, or two of files, masks and SEG do not agree.
    """
    where = f"parity: DICOM case {number}"
    try:
        scans = [read_series(series, ReadOptions().of(task)) for series in case.channels]
        volume = one_image([scan.volume for scan in scans], task)
        for scan in scans:
            check_reading(scan)
        expected, got = segment(volume, task, reference), segment(volume, task, model)
        trips = [_round_trip(mask, scans[0], task) for mask in (expected, got, probe(volume.shape, task))]
    except GateError as error:
        raise GateError(f"{where}: {str(error).removeprefix('parity: ')}") from error
    except RadfedError as error:
        raise GateError(f"{where} cannot be read, segmented or written: {error}") from error
    disagreement = float(np.mean(trips[0].mask != trips[1].mask))
    if disagreement > tolerance:
        raise GateError(f"{where}: masks differ in a share of {disagreement:.3g} of voxels, allowed is {tolerance:g}")
    instances = [instance for series in case.channels for instance in series.instances]
    return DicomCheck(
        case=number,
        made_up=case.made_up,
        transfer_syntax=", ".join(sorted({UID(instance.transfer_syntax).name for instance in instances})),
        frames=sum(len(series.slices) for series in case.channels) if case.made_up else None,
        disagreement=disagreement,
        labelled=bool(expected.any()),
        largest_distance_mm=max(trip.distance for trip in trips),
    )


def check_reading(scanned: ScannedVolume) -> None:
    """Compare a volume with the pixels of its files, each at the place that its header gives.

    Raises:
        GateError: a pixel lies elsewhere, or has another value.
    """
    files: dict[Path, list[tuple[int, int]]] = {}
    for channel, sources in enumerate(scanned.sources):
        for source in sources:
            if source:
                files.setdefault(source[0], []).append((channel, source[1]))
    if not files:
        raise GateError("the volume names no file as its source")
    # The reader takes stacks as regular whose slices are off by this much.
    tolerance = max(DISTANCE_TOLERANCE_MM, IRREGULARITY * scanned.volume.spacing[2])
    pixels = 0
    for path, frames in files.items():
        planes = read_planes(path)
        for channel, frame in frames:
            plane = planes[frame]
            pixels += plane.values.size
            rows, columns = np.indices(plane.values.shape).reshape(2, -1)
            voxels, _ = _voxels(plane.points(columns, rows), scanned.volume, tolerance)
            read = scanned.volume.array[channel][tuple(voxels)]
            if not np.allclose(read, plane.units.ravel(), rtol=1e-5, atol=1e-6):
                raise GateError("the volume's voxels have other values than the pixels of the files at their place")
    if pixels != scanned.volume.array.size:
        raise GateError(f"the volume has {scanned.volume.array.size} voxels, its files have {pixels} pixels")


def probe(shape: tuple[int, int, int], task: SegmentationTask) -> NDArray[np.uint8]:
    """A mask ``(H, W, D)`` that no flip or swap of axes maps onto itself, with every label if slices suffice."""
    height, width, depth = shape
    mask = np.zeros(shape, dtype=np.uint8)
    values = task.label_values
    for k in range(max(1, depth - 1)):
        mask[: 1 + height // 2, : 1 + width // 3, k] = values[k % len(values)]
    return mask


@dataclass(frozen=True)
class _Trip:
    """A mask that was read back from its SEG, and how far the SEG lies from the NIfTI mask (mm)."""

    mask: NDArray[np.uint8]
    distance: float


def _round_trip(mask: NDArray[np.uint8], scanned: ScannedVolume, task: SegmentationTask) -> _Trip:
    """Write a mask as SEG and as NIfTI and read both again."""
    with tempfile.TemporaryDirectory(prefix="radfed-parity-") as folder:
        seg, nifti = Path(folder, "mask.seg.dcm"), Path(folder, "mask.nii.gz")
        write_seg(seg, mask, scanned, task, _SOFTWARE)
        write_mask(nifti, mask, scanned.volume.affine)
        structures = read_structures(seg, scanned)
        stored = read_label(nifti)
        distance = _check_world(segment_points(seg), stored, task)
    back = np.zeros_like(mask)
    if mask.any():
        back = to_label(structures, scanned.volume, task)[0].array[0].astype(np.uint8)
    if not (np.array_equal(back, mask) and np.array_equal(stored.array[0], mask)):
        raise GateError("the mask that was written as SEG and as NIfTI is another one when it is read again")
    return _Trip(back, distance)


def _check_world(points: dict[str, NDArray[np.float64]], mask: Volume, task: SegmentationTask) -> float:
    """Compare the voxels of a SEG with a mask's, label by label, in world coordinates; the largest distance (mm)."""
    largest = 0.0
    for label in task.labels:
        voxels, distance = _voxels(points.get(label.name, np.empty((0, 3))), mask, DISTANCE_TOLERANCE_MM)
        marked = np.zeros(mask.shape, dtype=bool)
        marked[tuple(voxels)] = True
        if not np.array_equal(marked, mask.array[0] == label.value):
            raise GateError(f"the SEG and the NIfTI mask show {label.name} at different places of the patient")
        largest = max(largest, distance)
    return largest


def _voxels(points: NDArray[np.float64], volume: Volume, tolerance: float) -> tuple[NDArray[np.intp], float]:
    """Indices ``(3, N)`` of the voxels at points ``(N, 3)``, and the largest distance of a point from its voxel (mm).

    Raises:
        GateError: a point is no voxel's centre.
    """
    if not len(points):
        return np.empty((3, 0), dtype=np.intp), 0.0
    inverse = np.linalg.inv(volume.affine)
    found = inverse[:3, :3] @ points.T + inverse[:3, 3:]
    whole = np.rint(found).astype(np.intp)
    if (whole < 0).any() or (whole >= np.array(volume.shape)[:, np.newaxis]).any():
        raise GateError(f"voxels lie outside the volume: {_NOWHERE}")
    distance = float(np.linalg.norm(volume.affine[:3, :3] @ (found - whole), axis=0).max())
    if distance > tolerance:
        raise GateError(
            f"voxels lie {distance:.3g} mm from where they should, allowed is {tolerance:.3g} mm: {_NOWHERE}"
        )
    return whole, distance
