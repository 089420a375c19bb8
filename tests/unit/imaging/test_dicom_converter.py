import importlib.util
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from radfed.errors import DataError
from radfed.imaging.dicom import converter
from radfed.imaging.dicom.converter import convert
from radfed.imaging.dicom.csa import csa_values
from radfed.imaging.dicom.index import Series, index_folder
from radfed.imaging.volume import Volume

TILE = (6, 8)  # rows, columns
SLICES = 5  # of 3 x 3 tiles
SPACING = (2.0, 1.5)  # between rows, between columns (mm)
DISTANCE = 3.5
FIRST = np.array([-20.0, 30.0, 10.0])  # LPS, centre of the first slice's first pixel
PLANES = {
    "axial": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": (1.0, 0.0, 0.0, 0.0, 0.8, -0.6),
}
NAMES = ("NumberOfImagesInMosaic", "SliceNormalVector")


def csa_header(values: dict[str, Sequence[str]]) -> bytes:
    content = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(values), 77)
    for name, items in values.items():
        content += struct.pack("<64si4siii", name.encode(), len(items), b"FD\x00\x00", 4, len(items), 77)
        for item in items:
            raw = item.encode() + b"\x00"
            content += struct.pack("<4i", len(raw), len(raw), 77, len(raw)) + raw + b"\x00" * (-len(raw) % 4)
    return content


def write_mosaics(folder: Path, plane: str = "axial", sign: int = 1, private: bool = True, count: int = 2) -> Series:
    """Mosaics of random tiles whose normal points along (1) or against (-1) that of the image plane."""
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    along_rows, along_columns = np.array(PLANES[plane][:3]), np.array(PLANES[plane][3:])
    corner = FIRST - along_rows * SPACING[1] * TILE[1] - along_columns * SPACING[0] * TILE[0]
    normal = sign * np.cross(along_rows, along_columns)
    for number in range(count):
        dataset = pydicom.Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.Manufacturer, dataset.PatientID = "MR", "SIEMENS", "made up"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 4, number + 1, number + 1
        dataset.AcquisitionTime = f"1200{number:02}"
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in corner]
        dataset.ImageOrientationPatient = list(PLANES[plane])
        dataset.PixelSpacing, dataset.SpacingBetweenSlices, dataset.SliceThickness = list(SPACING), DISTANCE, 3.0
        dataset.RepetitionTime, dataset.EchoTime = 2000, 30
        dataset.Rows, dataset.Columns = 3 * TILE[0], 3 * TILE[1]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        values = np.random.default_rng(number).integers(1, 4000, size=(dataset.Rows, dataset.Columns), dtype=np.uint16)
        dataset.PixelData = values.tobytes()
        if private:
            direction = [f"{value:.8f}" for value in normal]
            header = csa_header({"NumberOfImagesInMosaic": [str(SLICES)], "SliceNormalVector": direction})
            dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", header)
            dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", SLICES)
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    (found,) = index_folder(folder).series
    return found


def tile(number: int, index: int) -> NDArray[np.uint16]:
    """Tile of a mosaic ``(rows, columns)``."""
    values = np.random.default_rng(number).integers(1, 4000, size=(3 * TILE[0], 3 * TILE[1]), dtype=np.uint16)
    down, across = divmod(index, 3)
    return values[down * TILE[0] : (down + 1) * TILE[0], across * TILE[1] : (across + 1) * TILE[1]]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("sign", [1, -1])
def test_every_tile_lies_where_the_headers_say(tmp_path: Path, plane: str, sign: int) -> None:
    pytest.importorskip("dcm2niix")
    scanned = convert(write_mosaics(tmp_path, plane, sign))
    array, affine = scanned.volume.array, scanned.volume.affine
    assert array.shape == (2, TILE[1], TILE[0], SLICES)
    assert array.dtype == np.int16
    assert scanned.sources == ()
    assert len(scanned.steps) == 1
    assert scanned.steps[0].startswith("converted by dcm2niix v1.")
    rows, columns = np.array(PLANES[plane][:3]), np.array(PLANES[plane][3:])
    normal = np.cross(rows, columns)
    for index in range(SLICES):
        k = index if sign == 1 else SLICES - 1 - index
        for number in range(2):
            np.testing.assert_array_equal(array[number, :, :, k], tile(number, index).T)
        lps = FIRST + normal * sign * DISTANCE * index + rows * SPACING[1] * 7 + columns * SPACING[0] * 5
        np.testing.assert_allclose((affine @ [7, 5, k, 1])[:3], lps * [-1, -1, 1], atol=1e-4)


def truth(series: Series) -> Volume:
    """What an honest converter gives, in dcm2niix's manner: rows from the bottom up."""
    array = np.stack([np.stack([tile(number, index).T for index in range(SLICES)], axis=-1) for number in range(2)])
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-SPACING[1], -SPACING[0], DISTANCE])
    affine[:3, 3] = FIRST * [-1, -1, 1]
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = TILE[0] - 1
    return Volume(array[:, :, ::-1].astype(np.int16), affine @ flip)


def one_voxel(volume: Volume) -> Volume:
    array = volume.array.copy()
    array[1, 3, 2, 4] += 1
    return Volume(array, volume.affine)


def two_slices_exchanged(volume: Volume) -> Volume:
    return Volume(volume.array[..., [1, 0, 2, 3, 4]], volume.affine)


def mirrored_voxels(volume: Volume) -> Volume:
    return Volume(volume.array[:, ::-1], volume.affine)


def mirrored_affine(volume: Volume) -> Volume:
    return Volume(volume.array, np.diag([-1.0, 1, 1, 1]) @ volume.affine)


def slices_backwards(volume: Volume) -> Volume:
    flip = np.diag([1.0, 1.0, -1.0, 1.0])
    flip[2, 3] = SLICES - 1
    return Volume(volume.array, volume.affine @ flip)


def shifted(volume: Volume) -> Volume:
    affine = volume.affine.copy()
    affine[0, 3] += 0.05
    return Volume(volume.array, affine)


def stretched(volume: Volume) -> Volume:
    return Volume(volume.array, volume.affine @ np.diag([1.0, 1.0, 1.01, 1.0]))


def not_finite(volume: Volume) -> Volume:
    return Volume(volume.array, volume.affine * np.nan)


def volume_lost(volume: Volume) -> Volume:
    return Volume(volume.array[:1], volume.affine)


def volume_twice(volume: Volume) -> Volume:
    return Volume(volume.array[[0, 0]], volume.affine)


def slice_lost(volume: Volume) -> Volume:
    return Volume(volume.array[..., :-1], volume.affine)


def scaled(volume: Volume) -> Volume:
    return Volume(volume.array * 1.001, volume.affine)


WRONG = (
    *(one_voxel, two_slices_exchanged, mirrored_voxels, mirrored_affine, slices_backwards, shifted, stretched),
    *(not_finite, volume_lost, volume_twice, slice_lost, scaled),
)


@pytest.mark.parametrize("tamper", WRONG)
def test_output_that_the_headers_contradict_is_refused(
    tmp_path: Path, tamper: Callable[[Volume], Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = write_mosaics(tmp_path)
    monkeypatch.setattr(converter, "run_dcm2niix", lambda _files: (tamper(truth(series)), "v0"))
    with pytest.raises(DataError) as caught:
        convert(series)
    assert caught.value.reason == "converter_mismatch"


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_volumes_come_in_the_order_of_the_files_whatever_the_converter_does(
    tmp_path: Path, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = write_mosaics(tmp_path)
    good = truth(series)
    monkeypatch.setattr(converter, "run_dcm2niix", lambda _files: (Volume(good.array[order], good.affine), "v0"))
    np.testing.assert_array_equal(convert(series).volume.array, good.array[:, :, ::-1])


def test_without_the_siemens_header_the_direction_of_the_slices_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="how many slices") as caught:
        convert(write_mosaics(tmp_path, private=False))
    assert caught.value.reason == "missing_geometry"


def test_lacking_dcm2niix_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DataError, match=r"pip install 'radfed\[dcm2niix\]'") as caught:
        convert(write_mosaics(tmp_path))
    assert caught.value.reason == "mosaic"


def test_a_program_that_hangs_or_fails_is_ended_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = write_mosaics(tmp_path)
    program = tmp_path / "program"
    program.mkdir()
    for script, message in (("sleep 30", "did not end"), ("echo Miller; exit 3", "exit code 3"), ("true", "0 images")):
        (program / "dcm2niix").write_text(f"#!/bin/sh\n{script}\n")
        (program / "dcm2niix").chmod(0o755)
        spec = importlib.util.spec_from_file_location("dcm2niix", program / "__init__.py")
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name, spec=spec: spec)
        monkeypatch.setattr(converter, "TIMEOUT", 0.5)
        with pytest.raises(DataError, match=message) as caught:
            convert(series)
        assert "Miller" not in str(caught.value)


def test_csa_header_cut_anywhere_gives_what_is_whole() -> None:
    header = csa_header({"NumberOfImagesInMosaic": ["35"], "Other": [""], "SliceNormalVector": ["0.0", "-0.6", "0.8"]})
    whole = csa_values(header, NAMES)
    assert whole == {"NumberOfImagesInMosaic": (35.0,), "SliceNormalVector": (0.0, -0.6, 0.8)}
    for length in range(len(header)):
        part = csa_values(header[:length], NAMES)
        assert all(whole[name] == values for name, values in part.items())
    for position in range(0, len(header), 3):
        broken = bytearray(header)
        broken[position] ^= 0xFF
        csa_values(bytes(broken), NAMES)
