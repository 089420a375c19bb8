"""Small DICOM files for the tests of the reader: classic and enhanced, each attribute open to change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT, MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*parts: object) -> str:
    """The same UID for the same parts."""
    return str(generate_uid(entropy_srcs=[repr(parts)]))


def dataset(pixels: NDArray[Any], sop_class: str = CT, syntax: str = ExplicitVRLittleEndian, **values: Any) -> Dataset:  # noqa: ANN401
    """A classic image of one frame; a value of None removes the attribute."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    made.SOPClassUID = sop_class
    made.Modality = "CT" if sop_class == CT else "DX" if sop_class == DX else "MR"
    made.PatientID = "P1"
    made.StudyInstanceUID = uid("study")
    made.SeriesInstanceUID = uid("series")
    made.FrameOfReferenceUID = uid("place")
    made.SeriesNumber = 3
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.SliceThickness = 2.0
    made.ImageOrientationPatient = list(AXIAL)
    made.ImagePositionPatient = [0.0, 0.0, 0.0]
    made.PixelSpacing = [0.8, 0.5]
    if made.Modality == "CT":
        made.RescaleSlope, made.RescaleIntercept = 1, -1024
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape[-2:]
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    change(made, values)
    if "SOPInstanceUID" not in values:
        made.SOPInstanceUID = uid(made.get("InstanceNumber"), str(made.get("ImagePositionPatient")), pixels.tobytes())
    made.file_meta.MediaStorageSOPInstanceUID = UID(made.SOPInstanceUID or "1.2.3")
    return made


def change(made: Dataset, values: dict[str, Any]) -> None:
    """Set attributes, or remove them."""
    for keyword, value in values.items():
        if value is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, value)


def save(made: Dataset, path: Path) -> Path:
    """Write a dataset as it is, valid or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def positions(
    count: int,
    orientation: Sequence[float] = AXIAL,
    distance: float = 2.0,
    origin: Sequence[float] = (-10.0, 20.0, 30.0),
    lean: Sequence[float] = (0.0, 0.0),
) -> list[list[float]]:
    """Of ``count`` slices along the normal; each leans so far (mm) along the rows and the columns of the one before."""
    rows, columns = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(rows, columns) * distance + lean[0] * rows + lean[1] * columns
    return [[round(float(value), 6) for value in np.array(origin) + number * step] for number in range(count)]


def series(
    folder: Path,
    voxels: NDArray[Any],
    places: Sequence[Sequence[float]],
    names: Sequence[str] | None = None,
    **values: Any,  # noqa: ANN401
) -> list[Path]:
    """A classic series of ``voxels`` (slices, Rows, Columns); a value that is a list of as many is one a slice."""
    paths = []
    for number, (pixels, place) in enumerate(zip(voxels, places, strict=True)):
        own: dict[str, Any] = {"InstanceNumber": number + 1, "ImagePositionPatient": list(place)}
        own |= {key: value[number] if isinstance(value, PerSlice) else value for key, value in values.items()}
        name = names[number] if names else f"{number:03}.dcm"
        paths.append(save(dataset(pixels, **own), folder / name))
    return paths


class PerSlice(list[Any]):
    """Values of which each slice gets its own."""


def ramp(slices: int = 4, rows: int = 5, columns: int = 6, dtype: type[np.generic] = np.int16) -> NDArray[Any]:
    """Voxels ``(slices, rows, columns)`` that are all different."""
    return np.arange(slices * rows * columns).reshape(slices, rows, columns).astype(dtype)


def enhanced(
    voxels: NDArray[Any],
    places: Sequence[Sequence[float]],
    rescale: Sequence[tuple[float, float]],
    temporal: Sequence[int] | None = None,
    frame_types: Sequence[list[str]] | None = None,
    **values: Any,  # noqa: ANN401
) -> Dataset:
    """An enhanced MR image of ``voxels`` (frames, Rows, Columns)."""
    made = dataset(voxels, ENHANCED_MR, **values)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del made[keyword]
    made.NumberOfFrames = len(voxels)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(AXIAL)
    measures.PixelSpacing, measures.SliceThickness = [0.8, 0.5], 2.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Items([orientation]), Items([measures])
    made.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for number, (place, (slope, intercept)) in enumerate(zip(places, rescale, strict=True)):
        frame, position, content, values_of, kind = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = list(place)
        values_of.RescaleSlope, values_of.RescaleIntercept, values_of.RescaleType = slope, intercept, "US"
        content.TemporalPositionIndex = temporal[number] if temporal else 1
        content.StackID = "1"
        kind.FrameType = frame_types[number] if frame_types else ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        frame.PlanePositionSequence, frame.FrameContentSequence = Items([position]), Items([content])
        frame.PixelValueTransformationSequence, frame.MRImageFrameTypeSequence = Items([values_of]), Items([kind])
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = Items(frames)
    return made
