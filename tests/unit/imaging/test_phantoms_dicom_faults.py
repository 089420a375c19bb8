from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import (  # type: ignore[import-not-found]
    AXIAL,
    OBLIQUE,
    a_volume,
    frames,
    patient,
    validator_errors,
)
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from radfed.errors import InvalidInputError
from radfed.imaging.phantoms_dicom import Fault, Flavour, write_series
from radfed.imaging.volume import Volume

CLASSIC_AND_ENHANCED = pytest.mark.parametrize("flavour", [Flavour.CT, Flavour.ENHANCED_MR], ids=["ct", "enhanced_mr"])


def places(paths: tuple[Path, ...], normal: NDArray[np.float64]) -> list[float]:
    """Distance of each image along the normal (mm), from the first, sorted."""
    along = sorted(float(normal @ to_lps[:, 2]) for path in paths for _, to_lps in frames(path))
    return [place - along[0] for place in along]


def normal_of(volume: Volume) -> NDArray[np.float64]:
    axis: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3, 2] / volume.spacing[2]
    return axis


@CLASSIC_AND_ENHANCED
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("gap", [0.0, 2.5, 5.0, 10.0, 12.5, 15.0]),
        ("uneven", [0.0, 2.5, 5.0, 8.75, 11.25, 13.75, 16.25]),
        ("overlapping", [0.0, 2.5, 5.0, 7.5, 7.5, 10.0, 12.5, 15.0]),
        ("shuffled_numbers", [0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0]),
        ("two_acquisitions", [0.0, 0.0, 2.5, 2.5, 5.0, 5.0, 7.5, 7.5, 10.0, 10.0, 12.5, 12.5, 15.0, 15.0]),
    ],
)
def test_slices_lie_where_the_fault_puts_them(
    flavour: Flavour, fault: Fault, expected: list[float], tmp_path: Path
) -> None:
    volume = a_volume(OBLIQUE)
    paths = write_series(tmp_path, volume, flavour, patient(), seed=1, faults={fault})
    assert places(paths, normal_of(volume)) == pytest.approx(expected, abs=1e-6)


@CLASSIC_AND_ENHANCED
def test_overlapping_slices_and_acquisitions_differ_in_content(flavour: Flavour, tmp_path: Path) -> None:
    faults: tuple[Fault, ...] = ("overlapping", "two_acquisitions")
    for fault in faults:
        volume = a_volume()
        paths = write_series(tmp_path / fault, volume, flavour, patient(), seed=1, faults=[fault])
        images = {values.tobytes() for path in paths for values, _ in frames(path)}
        assert len(images) == {"overlapping": 8, "two_acquisitions": 14}[fault]
        numbers = {pydicom.dcmread(path).AcquisitionNumber for path in paths}
        assert numbers == ({1, 2} if fault == "two_acquisitions" else {1})


def test_shuffled_numbers_are_a_permutation_that_is_not_the_order_of_the_slices(tmp_path: Path) -> None:
    volume = a_volume()
    paths = write_series(tmp_path, volume, "mr", patient(), seed=1, faults={"shuffled_numbers"})
    headers = sorted((pydicom.dcmread(path) for path in paths), key=lambda header: header.ImagePositionPatient[2])
    numbers = [int(header.InstanceNumber) for header in headers]
    assert sorted(numbers) == list(range(1, 8))
    assert numbers not in (sorted(numbers), sorted(numbers, reverse=True))


@pytest.mark.parametrize("flavour", [Flavour.CT, Flavour.MR, Flavour.ENHANCED_CT], ids=["ct", "mr", "enhanced_ct"])
@pytest.mark.parametrize("degrees", [-20.0, 14.0])
def test_a_tilted_series_shows_the_same_world(flavour: Flavour, degrees: float, tmp_path: Path) -> None:
    # A blob is smooth, so linear interpolation from the truth is exact to the noise of rounding.
    volume = a_volume(OBLIQUE, shape=(16, 40, 9), spacing=(1.0, 0.8, 2.0))
    index = np.moveaxis(np.indices(volume.shape), 0, -1) * volume.spacing
    blob = 2000 * np.exp(-(((index - index[8, 20, 4]) ** 2).sum(-1)) / 40.0)
    volume = Volume(np.rint(blob)[np.newaxis].astype(np.int16), volume.affine)
    paths = write_series(tmp_path, volume, flavour, patient(), seed=1, faults={"tilt"}, tilt_degrees=degrees)
    to_index = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine)
    seen = 0
    for path in paths:
        for values, to_lps in frames(path):
            rows, columns = np.indices(values.shape)
            lps = np.einsum("xy,yrc->xrc", to_lps, np.stack([columns, rows, np.ones_like(rows)]).astype(float))
            at = np.einsum("xy,yrc->xrc", to_index[:3, :3], lps) + to_index[:3, 3][:, None, None]
            inside = (at[1] >= 0) & (at[1] <= volume.shape[1] - 1)
            truth = map_coordinates(volume.array[0].astype(float), np.round(at, 6), order=1, mode="nearest")
            np.testing.assert_allclose(values[inside], truth[inside], atol=0.51)
            seen += int(values[inside].max() > 100)
    assert seen >= 5
    first, last = (next(iter(frames(path)))[1] for path in (paths[0], paths[-1]))
    if len(paths) > 1:
        step, down = (last - first)[:, 2] / 8, first[:, 1] / 0.8
        assert float(np.degrees(np.arctan2(step @ down, 2.0))) == pytest.approx(degrees, abs=1e-6)


def test_the_gantry_tilt_is_said_where_there_is_a_gantry(tmp_path: Path) -> None:
    for flavour in (Flavour.CT, Flavour.ENHANCED_CT):
        paths = write_series(tmp_path / flavour, a_volume(), flavour, patient(), seed=1, faults={"tilt"})
        header = pydicom.dcmread(paths[0])
        if flavour is Flavour.ENHANCED_CT:
            header = header.SharedFunctionalGroupsSequence[0].CTAcquisitionDetailsSequence[0]
        assert float(header.GantryDetectorTilt) == 12.0


@CLASSIC_AND_ENHANCED
def test_a_duplicate_is_an_exact_copy_under_another_name(flavour: Flavour, tmp_path: Path) -> None:
    *paths, copy = write_series(tmp_path, a_volume(), flavour, patient(), seed=1, faults={"duplicate"})
    assert copy.read_bytes() in {path.read_bytes() for path in paths}
    assert copy not in paths


@CLASSIC_AND_ENHANCED
def test_a_localizer_is_a_series_of_three_planes_of_the_same_anatomy(flavour: Flavour, tmp_path: Path) -> None:
    volume = a_volume(AXIAL)
    paths = write_series(tmp_path, volume, flavour, patient(), seed=1, faults={"localizer"})
    scouts, images = paths[-3:], paths[:-3]
    headers = [pydicom.dcmread(path) for path in scouts]
    assert {header.ImageType[2] for header in headers} == {"LOCALIZER"}
    if flavour is Flavour.ENHANCED_MR:
        groups = [header.SharedFunctionalGroupsSequence[0] for header in headers]
        assert {group.MRImageFrameTypeSequence[0].FrameType[2] for group in groups} == {"LOCALIZER"}
    series = {header.SeriesInstanceUID for header in headers}
    assert len(series) == 1
    assert pydicom.dcmread(images[0]).SeriesInstanceUID not in series
    normals = set()
    to_index = np.linalg.inv(np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine)
    for path in scouts:
        ((values, to_lps),) = frames(path)
        normals.add(int(np.argmax(np.abs(np.cross(to_lps[:, 0], to_lps[:, 1])))))
        for row, column in ((0, 0), (2, 3), (values.shape[0] - 1, 0)):
            voxel = np.rint(to_index @ [*(to_lps @ [column, row, 1]), 1])[:3].astype(int)
            assert values[row, column] == volume.array[(0, *voxel)]
    assert normals == {0, 1, 2}


@CLASSIC_AND_ENHANCED
@pytest.mark.parametrize("fault", ["mixed_spacing", "mixed_orientation"])
def test_one_slice_has_another_geometry(flavour: Flavour, fault: Fault, tmp_path: Path) -> None:
    volume = a_volume(AXIAL)
    paths = write_series(tmp_path, volume, flavour, patient(), seed=1, faults={fault})
    axes = [to_lps[:, :2].round(6).tobytes() for path in paths for _, to_lps in frames(path)]
    assert sorted(axes.count(axis) for axis in set(axes)) == [1, 6]


def test_one_slice_lacks_what_its_fault_takes_away(tmp_path: Path) -> None:
    taken: dict[Fault, tuple[str, str]] = {
        "missing_rescale": ("RescaleSlope", "PixelValueTransformationSequence"),
        "missing_geometry": ("ImagePositionPatient", "PlanePositionSequence"),
    }
    for fault, (keyword, group) in taken.items():
        classic = write_series(tmp_path / fault, a_volume(), "ct", patient(), seed=1, faults=[fault])
        assert [keyword in pydicom.dcmread(path) for path in classic].count(False) == 1
        (path,) = write_series(tmp_path / fault / "e", a_volume(), "enhanced_ct", patient(), seed=1, faults=[fault])
        frames_ = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        assert [group in frame for frame in frames_].count(False) == 1


@CLASSIC_AND_ENHANCED
def test_faults_that_a_real_scanner_makes_are_valid_dicom(flavour: Flavour, tmp_path: Path) -> None:
    faults: set[Fault] = {"gap", "tilt", "shuffled_numbers", "localizer", "two_acquisitions", "duplicate"}
    paths = write_series(tmp_path, a_volume(), flavour, patient(), seed=1, faults=faults)
    for path in (paths[0], paths[-1]):
        assert validator_errors(path) == []


def test_unknown_faults_and_too_few_slices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"faults must be of burned_in, .*; got \{'gaps'\}"):
        write_series(tmp_path, a_volume(), "ct", patient(), seed=1, faults={"gaps"})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="at least 4 slices, got 3"):
        write_series(tmp_path, a_volume(shape=(9, 9, 3)), "ct", patient(), seed=1, faults={"gap"})
