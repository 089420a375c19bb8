import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from dicom_phantoms import AXIAL, DIRECTIONS, OBLIQUE, a_volume, frames, patient, validator_errors  # type: ignore[import-not-found]
from numpy.typing import NDArray

from radfed.errors import InvalidInputError
from radfed.imaging.phantoms_dicom import Compression, Flavour, Storage, write_series
from radfed.imaging.volume import Volume

# Every orientation with one classic and one enhanced flavour, every flavour with an oblique one.
PLACED = [
    *((flavour, name) for flavour in (Flavour.CT, Flavour.ENHANCED_MR) for name in DIRECTIONS),
    *((flavour, "oblique") for flavour in (Flavour.MR, Flavour.MR_PHILIPS, Flavour.PT, Flavour.ENHANCED_CT)),
]
SYNTAXES: dict[Compression, str] = {
    "none": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg": "1.2.840.10008.1.2.4.70",
    "jpegls": "1.2.840.10008.1.2.4.80",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
}


def by_flavour(flavour: Flavour) -> str:
    return flavour.value


@pytest.mark.parametrize(("flavour", "direction"), PLACED)
def test_every_marked_voxel_lies_where_the_affine_says(flavour: Flavour, direction: str, tmp_path: Path) -> None:
    volume = a_volume(DIRECTIONS[direction])
    volume.array[:] = 0
    marks = {101: (0, 0, 0), 202: (13, 0, 0), 303: (0, 10, 0), 404: (0, 0, 6), 505: (9, 4, 3), 606: (2, 8, 5)}
    for value, index in marks.items():
        volume.array[(0, *index)] = value
    found = {}
    for path in write_series(tmp_path, volume, flavour, patient(), seed=1):
        for values, to_lps in frames(path):
            for row, column in np.argwhere(values):
                found[int(values[row, column])] = to_lps @ [column, row, 1]
    assert sorted(found) == sorted(marks)
    for value, index in marks.items():
        right, anterior, superior = (volume.affine @ [*index, 1])[:3]
        np.testing.assert_allclose(found[value], [-right, -anterior, superior], atol=1e-6)


@pytest.mark.parametrize(
    "flavour", [Flavour.CT, Flavour.MR, Flavour.PT, Flavour.DX, Flavour.ENHANCED_MR], ids=by_flavour
)
@pytest.mark.parametrize("compression", SYNTAXES)
def test_values_survive_every_compression(flavour: Flavour, compression: Compression, tmp_path: Path) -> None:
    # Negative where the kind of image can be; DX has none.
    volume = a_volume(low=0 if flavour is Flavour.DX else -1000, high=3000, shape=(36, 33, 3))
    paths = write_series(tmp_path, volume, flavour, patient(), seed=1, compression=compression)
    assert {str(pydicom.dcmread(path).file_meta.TransferSyntaxUID) for path in paths} == {SYNTAXES[compression]}
    read = [values.T for path in paths for values, _ in _values(path)]
    np.testing.assert_array_equal(np.stack(read, axis=-1), volume.array[0])


def _values(path: Path) -> list[tuple[NDArray[np.float64], None]]:
    """Frames of any file, with or without a place in the patient."""
    dataset = pydicom.dcmread(path)
    if "PerFrameFunctionalGroupsSequence" in dataset or "ImagePositionPatient" in dataset:
        return [(values, None) for values, _ in frames(path)]
    return [
        (dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0)), None)
    ]


@pytest.mark.parametrize(
    ("flavour", "compression"),
    [*((flavour, "none") for flavour in Flavour), (Flavour.MR, "jpegls"), (Flavour.ENHANCED_CT, "jpeg")],
)
def test_the_validator_finds_no_error(flavour: Flavour, compression: Compression, tmp_path: Path) -> None:
    # dciodvfy reads no deflated files; what compression does to a header, it does in every syntax.
    paths = write_series(tmp_path, a_volume(OBLIQUE), flavour, patient(), seed=1, compression=compression)
    assert validator_errors(paths[-1]) == []


@pytest.mark.parametrize(
    ("flavour", "low", "high", "bits", "signed", "slope", "intercept"),
    [
        (Flavour.CT, -1024, 3071, 12, 0, 1.0, -1024.0),
        (Flavour.CT, -1024, 20000, 16, 0, 1.0, -1024.0),
        (Flavour.CT, -8000, 3000, 16, 1, 1.0, 0.0),
        (Flavour.MR, 0, 4095, 12, 0, None, None),
        (Flavour.MR, -2048, 2047, 12, 1, None, None),
        (Flavour.MR, 0, 32767, 16, 0, None, None),
        (Flavour.MR, -32768, 32767, 16, 1, None, None),
        (Flavour.MR_PHILIPS, 0, 32767, 16, 0, 0.5, 0.0),
        (Flavour.MR_PHILIPS, -1000, 20000, 16, 0, 0.5, -4096.0),
        (Flavour.MR_PHILIPS, -32768, 32767, 16, 0, 1.0, -32768.0),
    ],
)
def test_bits_and_sign_follow_from_the_values(
    flavour: Flavour, low: int, high: int, bits: int, signed: int, slope: float, intercept: float, tmp_path: Path
) -> None:
    volume = a_volume(low=low, high=high)
    volume.array[0, 0, 0, :2] = low, high
    paths = write_series(tmp_path, volume, flavour, patient(), seed=1)
    header = pydicom.dcmread(paths[0])
    assert (header.BitsStored, header.HighBit, header.PixelRepresentation) == (bits, bits - 1, signed)
    assert (header.get("RescaleSlope"), header.get("RescaleIntercept")) == (slope, intercept)
    np.testing.assert_array_equal(np.stack([next(frames(path))[0].T for path in paths], -1), volume.array[0])


@pytest.mark.parametrize("flavour", [Flavour.PT, Flavour.ENHANCED_MR], ids=by_flavour)
def test_slopes_differ_within_a_series_where_scanners_do_so(flavour: Flavour, tmp_path: Path) -> None:
    volume = a_volume(high=100)
    volume.array[..., 3] *= 30
    slopes = set()
    for path in write_series(tmp_path, volume, flavour, patient(), seed=1):
        dataset = pydicom.dcmread(path)
        for frame in dataset.get("PerFrameFunctionalGroupsSequence", [dataset]):
            slopes.add(float(frame.get("PixelValueTransformationSequence", [frame])[0].RescaleSlope))
    assert len(slopes) == 2


def test_a_storage_that_loses_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be stored without loss as unsigned 12 bits"):
        write_series(tmp_path, a_volume(high=5000), "mr", patient(), seed=1, storage=Storage(12, signed=False))
    odd = a_volume(low=1, high=1)
    with pytest.raises(InvalidInputError, match="slope 2 "):
        write_series(tmp_path, odd, "ct", patient(), seed=1, storage=Storage(16, signed=True, slope=2.0))


@pytest.mark.parametrize("flavour", Flavour, ids=by_flavour)
def test_equal_arguments_give_equal_bytes_and_another_seed_other_uids(flavour: Flavour, tmp_path: Path) -> None:
    written = [
        write_series(tmp_path / name, a_volume(), flavour, patient(), seed=seed, faults={"nested_phi", "localizer"})
        for name, seed in (("one", 3), ("two", 3), ("three", 4))
    ]
    once, again, other = ({path.name: path.read_bytes() for path in paths} for paths in written)
    assert once == again
    assert once.keys() == other.keys()
    uids = [{pydicom.dcmread(path).SOPInstanceUID for path in paths} for paths in written]
    assert len(uids[0]) == len(written[0])
    assert not uids[0] & uids[2]


def test_series_of_one_patient_share_study_and_frame_of_reference_only(tmp_path: Path) -> None:
    first, second = (
        pydicom.dcmread(write_series(tmp_path, a_volume(), "mr", patient(), seed=1, series_number=number)[0])
        for number in (1, 2)
    )
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    other = pydicom.dcmread(write_series(tmp_path / "other", a_volume(), "mr", patient(1), seed=1)[0])
    assert other.StudyInstanceUID != first.StudyInstanceUID


def test_volumes_that_no_series_can_hold_are_refused(tmp_path: Path) -> None:
    good = a_volume()
    sheared = good.affine.copy()
    sheared[0, 2] += 0.5
    for volume, message in (
        (Volume(good.array, sheared), "orthogonal axes"),
        (Volume(good.array + 0.5, good.affine), "whole numbers"),
        (Volume(np.repeat(good.array, 2, axis=0), good.affine), r"array \(1, H, W, D\)"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            write_series(tmp_path, volume, "ct", patient(), seed=1)
    with pytest.raises(InvalidInputError, match="needs 32 rows and columns, got 11 and 14"):
        write_series(tmp_path, good, "ct", patient(), seed=1, compression="jpeg2000")
    with pytest.raises(InvalidInputError, match="flavour must be one of"):
        write_series(tmp_path, good, "us", patient(), seed=1)


@pytest.mark.parametrize(("flavour", "direction"), PLACED)
def test_dcm2niix_sees_the_same_values_in_the_same_places(flavour: Flavour, direction: str, tmp_path: Path) -> None:
    volume = a_volume(DIRECTIONS[direction])
    write_series(tmp_path / "dicom", volume, flavour, patient(), seed=1)
    converted = _dcm2niix(tmp_path / "dicom", tmp_path)
    read = np.asarray(converted.dataobj).astype(float)
    index = np.moveaxis(np.indices(volume.shape), 0, -1)
    world = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    inverse = np.linalg.inv(converted.affine)
    theirs = world @ inverse[:3, :3].T + inverse[:3, 3]
    np.testing.assert_allclose(theirs, np.rint(theirs), atol=1e-3)
    i, j, k = np.moveaxis(np.rint(theirs).astype(int), -1, 0)
    assert converted.shape[:3] == tuple(int(axis.max()) + 1 for axis in (i, j, k))
    np.testing.assert_array_equal(read[i, j, k], volume.array[0])


def _dcm2niix(folder: Path, out: Path) -> nibabel.Nifti1Image:
    binary = Path(sys.executable).parent / "dcm2niix"
    found = shutil.which("dcm2niix", path=str(binary.parent)) or shutil.which("dcm2niix")
    assert found, "dcm2niix is not installed"
    done = subprocess.run(
        [found, "-b", "y", "-f", "out", "-o", str(out), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    names = [path.name for path in out.glob("*.nii")]
    assert names == ["out.nii"], (names, json.dumps(done.stdout))
    return nibabel.load(out / "out.nii")


def test_a_projection_has_no_place_in_the_patient(tmp_path: Path) -> None:
    picture = a_volume(AXIAL, shape=(30, 20, 1))
    for flavour in (Flavour.CR, Flavour.DX, Flavour.SC):
        (path,) = write_series(tmp_path / flavour, picture, flavour, patient(), seed=1)
        header = pydicom.dcmread(path)
        assert "ImagePositionPatient" not in header
        assert "FrameOfReferenceUID" not in header
        assert (header.Rows, header.Columns) == (20, 30)
