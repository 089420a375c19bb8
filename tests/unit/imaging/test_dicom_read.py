from pathlib import Path
from typing import Any

import dicom_files as files  # type: ignore[import-not-found]
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from radfed.errors import DataError
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.read import ScannedVolume, read_series

TURNED = Rotation.from_euler("xyz", [17.0, -31.0, 44.0], degrees=True).as_matrix()
ORIENTATIONS = {
    "axial": files.AXIAL,
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "feet_first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "oblique": tuple(float(round(value, 9)) for value in TURNED[:, :2].T.ravel()),
}
TILTS = {"forward": 0.6, "backward": -0.6, "steep": 1.3}


def read(folder: Path, **options: Any) -> ScannedVolume:  # noqa: ANN401
    (one,) = index_folder(folder).series
    return read_series(one, ReadOptions(**options))


def refused(folder: Path, reason: str, match: str | None = None, **options: Any) -> None:  # noqa: ANN401
    with pytest.raises(DataError, match=match) as caught:
        read(folder, **options)
    assert caught.value.reason == reason
    assert str(folder) not in str(caught.value)


def world(index: tuple[int, int, int], place: list[list[float]], orientation: tuple[float, ...]) -> NDArray[np.float64]:
    """RAS+ of column i, row j of slice k by PS3.3 equation C.7.6.2.1-1 (spacing as in ``files.dataset``)."""
    i, j, k = index
    rows, columns = np.array(orientation[:3]), np.array(orientation[3:])
    between_rows, between_columns = 0.8, 0.5
    point: NDArray[np.float64] = np.array(place[k]) + i * between_columns * rows + j * between_rows * columns
    return point * (-1, -1, 1)


@pytest.mark.parametrize("distance", [2.0, -2.0], ids=["up", "down"])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_every_voxel_is_where_the_standard_puts_it(
    tmp_path: Path, orientation: tuple[float, ...], distance: float
) -> None:
    voxels = files.ramp(4)
    places = files.positions(4, orientation, distance)
    files.series(tmp_path, voxels, places, ImageOrientationPatient=list(orientation))
    scanned = read(tmp_path)
    assert scanned.volume.array.shape == (1, 6, 5, 4)
    inverse = np.linalg.inv(scanned.volume.affine)
    for i, j, k in np.ndindex(6, 5, 4):
        at = inverse @ [*world((i, j, k), places, orientation), 1]
        np.testing.assert_allclose(at, np.rint(at), atol=1e-4)
        found = scanned.volume.array[(0, *np.rint(at[:3]).astype(int))]
        assert found == voxels[k, j, i] - 1024
    normal = np.cross(orientation[:3], orientation[3:]) * (-1, -1, 1)
    assert scanned.volume.affine[:3, 2] @ normal > 0


def test_a_known_point_left_and_front_of_the_head(tmp_path: Path) -> None:
    # DICOM x grows to the patient's left, y to the back; RAS grows right and to the front.
    files.series(tmp_path, files.ramp(3), files.positions(3, origin=(10.0, 40.0, 5.0)))
    affine = read(tmp_path).volume.affine
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [-10, -40, 5, 1])
    np.testing.assert_allclose(affine @ [2, 1, 2, 1], [-11, -40.8, 9, 1])


def test_sources_name_the_file_of_each_slice(tmp_path: Path) -> None:
    paths = files.series(tmp_path, files.ramp(4), files.positions(4, distance=-2.0))
    assert read(tmp_path).sources == (tuple((path, 0) for path in reversed(paths)),)


def moved(places: list[list[float]], slice_number: int, by: tuple[float, float, float]) -> list[list[float]]:
    places[slice_number] = [value + shift for value, shift in zip(places[slice_number], by, strict=True)]
    return places


P = files.positions
FAULTS: dict[str, tuple[str, list[list[float]], dict[str, Any]]] = {
    "missing slice": ("gap", [*P(5)[:2], *P(5)[3:]], {}),
    "uneven slices": ("gap", moved(P(4), 1, (0, 0, 0.3)), {}),
    "tilt": ("tilt", P(4, lean=(0.0, 0.5)), {}),
    "other tilt": ("tilt", P(4, lean=(0.0, -0.5)), {}),
    "sideways tilt": ("tilt", P(4, lean=(0.4, 0.0)), {}),
    "one slice aside": ("tilt", moved(P(4), 2, (1.0, 0, 0)), {}),
    "one slice turned": (
        "mixed_orientation",
        P(4),
        {"ImageOrientationPatient": files.PerSlice([[*files.AXIAL]] * 3 + [[1.0, 0.0, 0.0, 0.0, 0.9998, 0.02]])},
    ),
    "a radial scan": (
        "mixed_orientation",
        P(4),
        {
            "ImageOrientationPatient": files.PerSlice(
                [[0, 0, -1.0, np.cos(angle), np.sin(angle), 0] for angle in (0.0, 0.7, 1.4, 2.1)]
            )
        },
    ),
    "mixed spacing": ("mixed_spacing", P(4), {"PixelSpacing": files.PerSlice([[0.8, 0.5]] * 3 + [[0.8, 0.6]])}),
    "no spacing": ("missing_geometry", P(4), {"PixelSpacing": None}),
    "zero spacing": ("missing_geometry", P(4), {"PixelSpacing": [0.0, 0.5]}),
    "no orientation": ("missing_geometry", P(4), {"ImageOrientationPatient": None}),
    "skewed orientation": ("missing_geometry", P(4), {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.866, 0]}),
    "long orientation": ("missing_geometry", P(4), {"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}),
    "no position": ("missing_geometry", P(4), {"ImagePositionPatient": None}),
    "localizer": ("localizer", P(4), {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    "crossed planes": (
        "localizer",
        P(4),
        {"ImageOrientationPatient": files.PerSlice([[*files.AXIAL]] * 2 + [[0, 1.0, 0, 0, 0, -1.0]] * 2)},
    ),
    "too few": ("too_few_slices", P(1), {}),
    "two, distance unknown": ("too_few_slices", P(2), {"SliceThickness": None, "SpacingBetweenSlices": None}),
    "two, far apart": ("gap", P(2, distance=4.0), {"SliceThickness": 2.0, "SpacingBetweenSlices": None}),
    "no slope": ("missing_rescale", P(4), {"RescaleSlope": None}),
    "no intercept": ("missing_rescale", P(4), {"RescaleIntercept": files.PerSlice([0, 0, None, 0])}),
    "slope in some": ("missing_rescale", P(4), {"Modality": "MR", "RescaleSlope": files.PerSlice([1, 1, None, 1])}),
    "slope zero": ("missing_rescale", P(4), {"RescaleSlope": 0}),
    "colour": ("unsupported_pixels", P(4), {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
    "palette": ("unsupported_pixels", P(4), {"PhotometricInterpretation": "PALETTE COLOR"}),
    "64 bits": ("unsupported_pixels", P(4), {"BitsAllocated": 64}),
    "more bits stored": ("undecodable", P(4), {"BitsStored": 20}),
    "larger than the pixels": ("undecodable", P(4), {"Rows": 60000, "Columns": 60000}),
    "one row more": ("undecodable", P(4), {"Rows": 6}),
    "mosaic": ("mosaic", P(4), {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}),
}


@pytest.mark.parametrize(
    ("reason", "places", "values"), FAULTS.values(), ids=[name.replace(" ", "_") for name in FAULTS]
)
def test_what_is_no_proven_volume_is_refused(
    tmp_path: Path, reason: str, places: list[list[float]], values: dict[str, Any]
) -> None:
    files.series(tmp_path, files.ramp(len(places)), places, **values)
    refused(tmp_path, reason)


@pytest.mark.parametrize("stated", ["SliceThickness", "SpacingBetweenSlices"])
def test_two_slices_are_a_volume_if_the_header_states_their_distance(tmp_path: Path, stated: str) -> None:
    others = {"SliceThickness": None, "SpacingBetweenSlices": None}
    files.series(tmp_path, files.ramp(2), files.positions(2, distance=2.5), **others | {stated: 2.5})
    assert read(tmp_path).volume.spacing == (0.5, 0.8, 2.5)


def test_different_slices_at_one_place_overlap(tmp_path: Path) -> None:
    files.series(tmp_path / "a", files.ramp(4), files.positions(4))
    files.series(tmp_path / "b", files.ramp(1) + 7, files.positions(1), InstanceNumber=9)
    refused(tmp_path, "overlapping_slices", "1 of 4 places")


def test_the_same_uid_with_other_pixels_is_no_second_volume(tmp_path: Path) -> None:
    uids = files.PerSlice([files.uid(number) for number in range(3)])
    files.series(tmp_path / "a", files.ramp(3), files.positions(3), SOPInstanceUID=uids)
    files.series(tmp_path / "b", files.ramp(3) + 1, files.positions(3), SOPInstanceUID=uids)
    refused(tmp_path, "overlapping_slices", "the same image")


def test_shifted_slices_in_one_plane_overlap(tmp_path: Path) -> None:
    files.series(tmp_path / "a", files.ramp(3), files.positions(3))
    files.series(tmp_path / "b", files.ramp(3) + 1, files.positions(3, origin=(-9.0, 20.0, 30.0)))
    refused(tmp_path, "overlapping_slices", "shifted")


def test_rounded_positions_are_still_regular(tmp_path: Path) -> None:
    places = [[-10.0, 20.0, round(number * 0.625, 2)] for number in range(40)]
    files.series(tmp_path, files.ramp(40), places)
    scanned = read(tmp_path)
    np.testing.assert_allclose(scanned.volume.spacing, (0.5, 0.8, 0.625), atol=1e-3)


BY: dict[str, list[Any]] = {
    "TemporalPositionIdentifier": [1, 2, 3],
    "AcquisitionNumber": [4, 7, 9],
    "EchoTime": [10.5, 20.0, 110.0],
    "TriggerTime": [0.0, 90.0, 180.0],
    "AcquisitionTime": ["090000", "090001.5", "100000"],
    "InstanceNumber": [1, 50, 110],
}


@pytest.mark.parametrize("keyword", BY)
def test_repeated_places_are_volumes_in_the_order_of_what_tells_them_apart(tmp_path: Path, keyword: str) -> None:
    voxels = [files.ramp(3) + 1000 * moment for moment in range(3)]
    for moment in (2, 0, 1):  # not in the order of the folders
        values = {"InstanceNumber": None, keyword: BY[keyword][moment]}
        files.series(tmp_path / f"{(moment * 2) % 3}", voxels[moment], files.positions(3), sop_class=files.MR, **values)
    scanned = read(tmp_path)
    assert scanned.volume.array.shape == (3, 6, 5, 3)
    for moment in range(3):
        np.testing.assert_array_equal(scanned.volume.array[moment], voxels[moment].transpose(2, 1, 0))
    assert len({source for volume in scanned.sources for source in volume}) == 9


def test_repeated_places_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    for moment in range(2):
        files.series(tmp_path / str(moment), files.ramp(3) + moment, files.positions(3), InstanceNumber=None)
    refused(tmp_path, "overlapping_slices", "neither time")


def test_rescale_of_each_slice_counts(tmp_path: Path) -> None:
    slopes, intercepts = files.PerSlice([1.5, 0.25, 2.0]), files.PerSlice([0.5, -3.0, 10.0])
    voxels = files.ramp(3)
    files.series(tmp_path, voxels, files.positions(3), RescaleSlope=slopes, RescaleIntercept=intercepts)
    array = read(tmp_path).volume.array
    assert array.dtype == np.float32
    for k in range(3):
        np.testing.assert_array_equal(array[0, :, :, k], (voxels[k] * slopes[k] + intercepts[k]).T)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "slope", "intercept", "expected"),
    [
        (0, 4000, np.uint16, 1, -1024, np.int16),
        (0, 32767, np.int16, 1, 0, np.int16),
        (0, 65535, np.uint16, 1, -32768, np.int16),
        (0, 65535, np.uint16, 1, 0, np.int32),
        (-32768, 32767, np.int16, 1, -1, np.int32),
        (0, 255, np.uint8, 1, -10, np.int16),
        (0, 100, np.int16, 1000, 5, np.int32),
        (0, 2**31, np.uint32, 1, 0, np.float32),
        (-(2**31), 2**31 - 1, np.int32, 1, 0, np.int32),
        (0, 100, np.int16, 0.5, 0, np.float32),
    ],
)
def test_the_type_is_the_smallest_that_holds_the_values(
    tmp_path: Path,
    low: int,
    high: int,
    dtype: type[np.generic],
    slope: float,
    intercept: int,
    expected: type[np.generic],
) -> None:
    voxels = np.zeros((3, 2, 3), dtype)
    voxels[1, 1] = high
    voxels[2, 1, 1] = low
    files.series(tmp_path, voxels, files.positions(3), RescaleSlope=slope, RescaleIntercept=intercept)
    array = read(tmp_path).volume.array
    assert array.dtype == expected
    np.testing.assert_allclose(array[0], (voxels * np.float64(slope) + intercept).transpose(2, 1, 0))


def test_mr_needs_no_rescale(tmp_path: Path) -> None:
    voxels = files.ramp(3)
    files.series(tmp_path, voxels, files.positions(3), sop_class=files.MR)
    np.testing.assert_array_equal(read(tmp_path).volume.array[0], voxels.transpose(2, 1, 0))


def test_frames_of_an_enhanced_image_are_sorted_by_place_and_time(tmp_path: Path) -> None:
    voxels = files.ramp(6)
    order = [4, 1, 5, 0, 2, 3]
    places = files.positions(3) * 2
    made = files.enhanced(
        voxels[order],
        [places[number] for number in order],
        [(1.0 + number, 0.5) for number in order],
        temporal=[1 + number // 3 for number in order],
    )
    path = files.save(made, tmp_path / "one.dcm")
    scanned = read(tmp_path)
    assert scanned.volume.array.shape == (2, 6, 5, 3)
    for number in range(6):
        expected = voxels[number].T * (1.0 + number) + 0.5
        np.testing.assert_array_equal(scanned.volume.array[number // 3, :, :, number % 3], expected)
        assert scanned.sources[number // 3][number % 3] == (path, order.index(number))


def test_missing_slices_are_interpolated_only_where_asked(tmp_path: Path) -> None:
    voxels = np.arange(7)[:, None, None] * 10 + files.ramp(1)
    kept = [0, 1, 4, 5, 6]
    places = files.positions(7)
    files.series(tmp_path, voxels[kept].astype(np.int16), [places[number] for number in kept], sop_class=files.MR)
    refused(tmp_path, "gap")
    refused(tmp_path, "gap", "2 slices in a row", interpolate_gaps=1)
    scanned = read(tmp_path, interpolate_gaps=2)
    np.testing.assert_array_equal(scanned.volume.array[0], voxels.transpose(2, 1, 0))
    assert scanned.volume.array.dtype == np.int16
    assert scanned.steps == ("interpolated 2 missing slice(s)",)
    assert [bool(source) for source in scanned.sources[0]] == [True, True, False, False, True, True, True]
    np.testing.assert_allclose(scanned.volume.affine @ [0, 0, 6, 1], [10, -20, 42, 1])


@pytest.mark.parametrize("heights", [[0, 2, 4, 7, 9], [0, 2, 4, 5, 7, 9], [0, 2, 6, 10, 12]])
def test_other_irregularities_are_never_interpolated(tmp_path: Path, heights: list[float]) -> None:
    places = [[0.0, 0.0, float(height)] for height in heights]
    files.series(tmp_path, files.ramp(len(places)), places)
    refused(tmp_path, "gap", interpolate_gaps=5)


@pytest.mark.parametrize("lean", TILTS.values(), ids=TILTS.keys())
@pytest.mark.parametrize("axis", ["rows", "columns", "both"])
@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_a_tilt_is_corrected_within_half_a_voxel(tmp_path: Path, orientation: str, axis: str, lean: float) -> None:
    """A blob at a known place in the patient, cut by tilted slices, is there in the upright volume."""
    cosines = ORIENTATIONS[orientation]
    shift = {"rows": (lean, 0.0), "columns": (0.0, lean), "both": (lean, -lean / 2)}[axis]
    places = files.positions(12, cosines, lean=shift)
    shape = (12, 40, 60)
    middle = (world((30, 20, 5), places, cosines) + world((32, 18, 6), places, cosines)) / 2
    points = world_grid(shape, places, cosines)
    blob = np.rint(1000 * np.exp(-((points - middle) ** 2).sum(-1) / (2 * 4.0**2))).astype(np.int16)
    files.series(tmp_path, blob, places, sop_class=files.MR, ImageOrientationPatient=list(cosines))
    refused(tmp_path, "tilt")
    scanned = read(tmp_path, correct_tilt=True)
    volume = scanned.volume
    directions = volume.affine[:3, :3] / volume.spacing
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    weights = volume.array[0].astype(float)
    grid = np.moveaxis(np.indices(volume.shape), 0, -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    centre = (grid * weights[..., None]).sum((0, 1, 2)) / weights.sum()
    assert np.linalg.norm(centre - middle) < 0.25
    apart = np.linalg.norm(grid - middle, axis=-1)
    truth = 1000 * np.exp(-(apart**2) / (2 * 4.0**2))
    near = apart < 8  # every slice reaches this far
    assert np.abs(weights - truth)[near].max() < 10  # of 1000; half a voxel beside would be 60 and more
    assert set(scanned.sources[0]) == {()}
    assert scanned.steps == ("resampled a tilted stack upright",)


def world_grid(
    shape: tuple[int, int, int], places: list[list[float]], orientation: tuple[float, ...]
) -> NDArray[np.float64]:
    """RAS+ of every voxel ``(slices, Rows, Columns)``."""
    rows, columns = np.array(orientation[:3]), np.array(orientation[3:])
    k, j, i = (index[..., None] for index in np.indices(shape))
    points: NDArray[np.float64] = np.array(places)[k[..., 0]] + i * 0.5 * rows + j * 0.8 * columns
    return points * (-1, -1, 1)


def test_nothing_is_cut_off_by_a_correction(tmp_path: Path) -> None:
    places = files.positions(8, lean=(0.0, -1.6))  # two rows a slice: no interpolation
    voxels = files.ramp(8) + 1
    files.series(tmp_path, voxels, places, sop_class=files.MR)
    array = read(tmp_path, correct_tilt=True).volume.array[0]
    assert array.shape == (6, 5 + 14, 8)
    for k in range(8):
        start = 14 - 2 * k
        np.testing.assert_array_equal(array[:, start : start + 5, k], voxels[k].T)
    assert (array[:, :14, 0] == 1).all()


def test_a_tilt_and_a_gap_together(tmp_path: Path) -> None:
    places = files.positions(6, lean=(0.0, 1.6))
    kept = [0, 1, 3, 4, 5]
    files.series(tmp_path, files.ramp(6)[kept], [places[number] for number in kept], sop_class=files.MR)
    refused(tmp_path, "gap", correct_tilt=True)
    refused(tmp_path, "tilt", interpolate_gaps=1)
    scanned = read(tmp_path, correct_tilt=True, interpolate_gaps=1)
    assert scanned.volume.shape == (6, 15, 6)
    assert len(scanned.steps) == 2


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_projection_is_one_slice_with_its_spacing(tmp_path: Path, photometric: str) -> None:
    pixels = files.ramp(1, dtype=np.uint16)[0]
    values: dict[str, Any] = {"ImagerPixelSpacing": [0.2, 0.1], "BitsStored": 12, "HighBit": 11}
    values |= dict.fromkeys(("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"))
    made = files.dataset(pixels, files.DX, PhotometricInterpretation=photometric, **values)
    path = files.save(made, tmp_path / "one.dcm")
    refused(tmp_path, "too_few_slices")
    scanned = read(tmp_path, min_slices=1)
    expected = 4095 - pixels if photometric == "MONOCHROME1" else pixels
    np.testing.assert_array_equal(scanned.volume.array, expected.T[None, :, :, None])
    np.testing.assert_allclose(scanned.volume.affine, np.diag([-0.1, -0.2, 1.0, 1.0]))
    assert scanned.sources == (((path, 0),),)
    assert bool(scanned.steps) == (photometric == "MONOCHROME1")


def test_two_projections_of_a_series_are_two_images(tmp_path: Path) -> None:
    for number in range(2):
        made = files.dataset(files.ramp(1)[0] + number, files.DX, InstanceNumber=number)
        files.save(made, tmp_path / f"{number}.dcm")
    found = index_folder(tmp_path).series
    assert [len(one.slices) for one in found] == [1, 1]


def test_a_projection_without_spacing_is_refused(tmp_path: Path) -> None:
    files.save(files.dataset(files.ramp(1)[0], files.DX, PixelSpacing=None), tmp_path / "one.dcm")
    refused(tmp_path, "missing_geometry", min_slices=1)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    files.series(tmp_path, files.ramp(1), files.positions(1), SliceThickness=3.5)
    assert read(tmp_path, min_slices=1).volume.spacing == (0.5, 0.8, 3.5)
