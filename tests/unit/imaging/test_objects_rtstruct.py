"""RTSTRUCT on scanned grids: areas in the patient's millimetres, in every plane, and contours that are refused."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from radfed.errors import DataError
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.objects.structure import Structure
from radfed.imaging.objects.structures import read_structures, references
from radfed.imaging.phantoms_dicom import fake_patient, write_series
from radfed.imaging.volume import Volume

SPACING = np.array([0.5, 1.25, 3.0])
SHAPE = (160, 64, 6)
FRAME_OF_REFERENCE = "2.25.99"
Points = NDArray[np.float64]
Drawn = tuple[str, float, Points]  # kind, distance of the plane from slice 0 (mm), points in the plane (mm)


def affine(kind: str) -> NDArray[np.float64]:
    matrix = np.eye(4)
    if kind == "axial":
        directions = np.diag([-1.0, -1.0, 1.0])
    elif kind == "sagittal":
        directions = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    elif kind == "coronal":
        directions = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    else:
        a = 0.5
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        directions = about_x @ np.diag([-1.0, -1.0, 1.0])
    matrix[:3, :3] = directions * SPACING
    matrix[:3, 3] = (31.7, -12.25, 64.5)
    return matrix


def scan(kind: str = "axial") -> ScannedVolume:
    """A resampled volume: it names no sources, so only geometry is at stake."""
    return ScannedVolume(Volume(np.zeros((1, *SHAPE), dtype=np.int16), affine(kind)), (((),) * SHAPE[2],))


def in_patient(kind: str, level: float, points: Points) -> list[float]:
    """Points in the plane of a slice (mm from the first voxel's centre) to LPS+, rounded as planning systems do."""
    index = np.c_[points / SPACING[:2], np.full(len(points), level / SPACING[2])]
    ras = index @ affine(kind)[:3, :3].T + affine(kind)[:3, 3]
    return [round(float(value), 3) for value in (ras * [-1, -1, 1]).ravel()]


def circle(radius: float, centre: tuple[float, float] = (40.1, 39.7)) -> Points:
    angle = np.linspace(0, 2 * math.pi, 240, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def rectangle(low: tuple[float, float], high: tuple[float, float]) -> Points:
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def write(path: Path, kind: str, regions: dict[str, Sequence[Drawn]], instances: Sequence[str] = ()) -> Path:
    """An RTSTRUCT with regions numbered from 1."""
    dataset = FileDataset(str(path), {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = RTStructureSetStorage, "2.25.3", "RTSTRUCT"
    frame = Dataset()
    frame.FrameOfReferenceUID = FRAME_OF_REFERENCE
    dataset.ReferencedFrameOfReferenceSequence = [frame]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, drawn) in enumerate(regions.items(), start=1):
        region, contours, observation, term = Dataset(), Dataset(), Dataset(), Dataset()
        region.ROINumber, region.ROIName = number, name
        contours.ReferencedROINumber = number
        contours.ContourSequence = [_contour(kind, *one, instances) for one in drawn]
        observation.ReferencedROINumber = number
        term.CodeValue, term.CodingSchemeDesignator, term.CodeMeaning = f"{number}000", "SCT", name
        observation.RTROIIdentificationCodeSequence = [term]
        dataset.StructureSetROISequence.append(region)
        dataset.ROIContourSequence.append(contours)
        dataset.RTROIObservationsSequence.append(observation)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _contour(kind: str, shape: str, level: float, points: Points, instances: Sequence[str]) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = shape
    contour.NumberOfContourPoints = len(points)
    contour.ContourData = in_patient(kind, level, points)
    contour.ContourImageSequence = []
    for uid in instances:
        image = Dataset()
        image.ReferencedSOPInstanceUID = uid
        contour.ContourImageSequence.append(image)
    return contour


def closed(level: float, points: Points) -> Drawn:
    return ("CLOSED_PLANAR", level, points)


def read(tmp_path: Path, drawn: Sequence[Drawn], kind: str = "axial") -> Structure:
    (structure,) = read_structures(write(tmp_path / "rt.dcm", kind, {"x": drawn}), scan(kind))
    return structure


def refused(tmp_path: Path, drawn: Sequence[Drawn], match: str) -> str:
    with pytest.raises(DataError, match=match) as caught:
        read(tmp_path, drawn)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["axial", "sagittal", "coronal", "oblique"])
def test_area_and_centre_of_a_circle_are_right_in_every_plane(kind: str, tmp_path: Path) -> None:
    mask = read(tmp_path, [closed(6.0, circle(25.0))], kind).mask
    assert mask.any(axis=(0, 1)).tolist() == [False, False, True, False, False, False]
    assert mask.sum() * SPACING[0] * SPACING[1] == pytest.approx(math.pi * 25**2, rel=0.01)
    centre = np.argwhere(mask).mean(axis=0) * SPACING
    np.testing.assert_allclose(centre, [40.1, 39.7, 6.0], atol=0.1)


@pytest.mark.parametrize("kind", ["axial", "sagittal", "oblique"])
def test_a_rectangle_between_centres_is_exact(kind: str, tmp_path: Path) -> None:
    mask = read(tmp_path, [closed(3.0, rectangle((9.75, 24.375), (19.75, 49.375)))], kind).mask
    wanted = np.zeros(SHAPE, dtype=np.bool_)
    wanted[20:40, 20:40, 1] = True
    np.testing.assert_array_equal(mask, wanted)


def test_nested_contours_are_a_ring_and_separate_ones_are_two_blobs(tmp_path: Path) -> None:
    voxel = SPACING[0] * SPACING[1]
    ring = read(tmp_path, [closed(3.0, circle(25.0)), closed(3.0, circle(10.0))]).mask
    assert ring.sum() * voxel == pytest.approx(math.pi * (25**2 - 10**2), rel=0.01)
    two = read(tmp_path, [closed(3.0, circle(10.0, (15, 40))), closed(3.0, circle(10.0, (55, 40)))]).mask
    assert two.sum() * voxel == pytest.approx(2 * math.pi * 10**2, rel=0.02)


def test_a_contour_between_slices_goes_to_the_nearest(tmp_path: Path) -> None:
    square = rectangle((9.75, 24.375), (19.75, 49.375))
    for level, wanted in ((1.4, 0), (1.6, 1), (-1.4, 0), (16.4, 5)):
        assert np.flatnonzero(read(tmp_path, [closed(level, square)]).mask.any(axis=(0, 1))).tolist() == [wanted]


def test_planes_halfway_between_slices_fill_each_slice_once(tmp_path: Path) -> None:
    square = rectangle((9.75, 24.375), (19.75, 49.375))
    mask = read(tmp_path, [closed(3 * number + 1.5, square) for number in range(4)]).mask
    assert mask.sum(axis=(0, 1)).tolist() == [0, 400, 400, 400, 400, 0]


def test_of_two_planes_at_one_slice_the_nearest_counts(tmp_path: Path) -> None:
    """Their exclusive or, as of contours in one plane, would be a ring that nobody drew."""
    large, small = closed(3.9, circle(25.0)), closed(3.2, circle(10.0))
    mask = read(tmp_path, [large, small]).mask
    assert mask.sum() * SPACING[0] * SPACING[1] == pytest.approx(math.pi * 10**2, rel=0.02)


def test_names_numbers_and_codes_are_read_and_points_left_out(tmp_path: Path) -> None:
    square = closed(3.0, rectangle((10, 10), (20, 20)))
    path = write(
        tmp_path / "rt.dcm",
        "axial",
        {"Liver": [square], "isocentre": [("POINT", 3.0, np.array([[5.0, 5.0]]))], "Spleen": [square]},
    )
    found = [(one.number, one.name, one.code.value if one.code else "") for one in read_structures(path, scan())]
    assert found == [(1, "Liver", "1000"), (3, "Spleen", "3000")]


def test_contours_without_area_add_nothing(tmp_path: Path) -> None:
    line = closed(3.0, np.array([[5.0, 5.0], [30.0, 30.0]]))
    assert not read(tmp_path, [line]).mask.any()


def test_a_contour_beyond_the_volume_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, [closed(17.0, circle(5.0))], "beyond the outermost slice") == "bad_contour"
    assert refused(tmp_path, [closed(-1.7, circle(5.0))], "1.7 mm beyond") == "bad_contour"


def test_a_contour_of_another_plane_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "rt.dcm", "sagittal", {"x": [closed(3.0, circle(20.0))]})
    with pytest.raises(DataError, match="drawn in another plane") as caught:
        read_structures(path, scan("axial"))
    assert caught.value.reason == "bad_contour"


def test_open_lines_beside_closed_contours_are_refused(tmp_path: Path) -> None:
    drawn = [closed(3.0, circle(5.0)), ("OPEN_PLANAR", 3.0, np.array([[1.0, 1.0], [2.0, 2.0]]))]
    assert refused(tmp_path, drawn, "mixes closed contours with open lines") == "bad_contour"


def test_contours_that_are_no_points_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, [closed(3.0, np.zeros((0, 2)))], "make no points") == "bad_contour"


def test_a_contour_on_an_image_that_is_not_here_is_refused(tmp_path: Path) -> None:
    """Half a series: the structure set matches, but some of its images are missing."""
    voxels = np.zeros((1, 20, 20, 4), dtype=np.int16) + np.arange(4, dtype=np.int16)
    write_series(
        tmp_path / "series", Volume(voxels, affine("axial")), "ct", fake_patient(np.random.default_rng(1)), seed=2
    )
    scanned = read_series(index_folder(tmp_path / "series").series[0])
    instance = index_folder(tmp_path / "series").series[0].instances[0]
    square = closed(3.0, rectangle((2, 5), (7, 15)))
    good = write(tmp_path / "good.dcm", "axial", {"x": [square]}, [instance.sop_instance])
    assert references(good).instances == {instance.sop_instance}
    assert read_structures(good, scanned)[0].mask.any()
    missing = write(tmp_path / "missing.dcm", "axial", {"x": [square]}, ["2.25.404"])
    with pytest.raises(DataError, match="none of which is in this volume") as caught:
        read_structures(missing, scanned)
    assert caught.value.reason == "label_reference"


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    """Most of all between two contours, where what is left looks whole."""
    drawn = [closed(3.0 * number, circle(5.0)[::40]) for number in range(3)]
    path = write(tmp_path / "rt.dcm", "axial", {"x": drawn, "y": drawn})
    whole = path.read_bytes()
    observations = whole.index(b"\x06\x30\x80\x00SQ")
    # The header of the element after the contours may be missing: regions then have no codes, but are whole.
    for size in (*range(150, observations, 7), observations - 1, *range(observations + 8, len(whole), 7)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"export it again|another kind") as caught:
            read_structures(path, scan())
        assert caught.value.reason == "unreadable"
