"""DICOM SEG, written and read: equal masks, valid objects, references; and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import Segmentation, segread
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, dcmread

from radfed.errors import DataError
from radfed.imaging.dicom.index import index_folder
from radfed.imaging.dicom.read import read_series
from radfed.imaging.dicom.scanned import ScannedVolume
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.seg import write_seg
from radfed.imaging.objects.structures import read_structures, references
from radfed.imaging.phantoms_dicom import fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask

TASK = SegmentationTask.read(Path(__file__).parents[3] / "jobs" / "phantom_segmentation" / "task.yaml")
SHAPE = (20, 24, 7)


def turn(kind: str) -> NDArray[np.float64]:
    """Directions of the voxel axes in RAS+: columns, rows, slices."""
    match kind:
        case "axial":
            return np.diag([-1.0, -1.0, 1.0])
        case "sagittal":
            return np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        case _:
            a, b = 0.3, 0.4
            about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
            about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
            return np.asarray(about_z @ about_x @ np.diag([-1.0, -1.0, 1.0]), dtype=np.float64)


def scan(folder: Path, flavour: str = "ct", kind: str = "axial", shape: tuple[int, int, int] = SHAPE) -> ScannedVolume:
    """A series of random voxels, written and read."""
    affine = np.eye(4)
    affine[:3, :3] = turn(kind) @ np.diag([0.9, 0.7, 2.5])
    affine[:3, 3] = (30.123, -44.5, 100.7)
    voxels = np.random.default_rng(4).integers(0, 900, (1, *shape)).astype(np.int16)
    write_series(folder, Volume(voxels, affine), flavour, fake_patient(np.random.default_rng(5)), seed=6)
    return read_series(index_folder(folder).series[0])


def blobs(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.uint8]:
    """Liver 1 and spleen 2, without any symmetry, and empty slices on both ends."""
    mask = np.zeros(shape, dtype=np.uint8)
    mask[3:8, 4:9, 1:5] = 1
    mask[12:15, 4:18, 3:6] = 2
    mask[4, 5, 2] = 0
    return mask


def problems(path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    found = subprocess.run(
        [str(Path(sys.executable).parent / "dciodvfy"), str(path)], capture_output=True, text=True, check=False
    )
    lines = (found.stdout + found.stderr).splitlines()
    assert any(line.strip() in ("Segmentation", "Comprehensive3DSR") for line in lines), lines
    return [line for line in lines if line.startswith("Error")]


def read_back(path: Path, scanned: ScannedVolume, task: SegmentationTask = TASK) -> NDArray[np.uint8]:
    label, _ = to_label(read_structures(path, scanned), scanned.volume, task)
    found: NDArray[np.uint8] = label.array[0]
    return found


def changed(path: Path, change: Callable[[FileDataset], None]) -> Path:
    """A copy of an object with something changed."""
    dataset = dcmread(path)
    change(dataset)
    other = path.with_name("changed.dcm")
    dataset.save_as(other, enforce_file_format=True)
    return other


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> ScannedVolume:
    return scan(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def seg(ct: ScannedVolume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    write_seg(path, blobs(), ct, TASK, "1.2.3")
    return path


@pytest.mark.parametrize("kind", ["axial", "oblique", "sagittal"])
@pytest.mark.parametrize("flavour", ["ct", "mr", "enhanced_ct", "enhanced_mr"])
def test_a_written_mask_is_valid_and_read_back_identically(flavour: str, kind: str, tmp_path: Path) -> None:
    scanned = scan(tmp_path / "series", flavour, kind)
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs(), scanned, TASK, "1.2.3")
    assert problems(path) == []
    np.testing.assert_array_equal(read_back(path, scanned), blobs())
    # As highdicom sees it: its axes are slices, rows, columns, and its affine is LPS+.
    volume = segread(path).get_volume(combine_segments=True)
    inside = np.argwhere(blobs() == 2)
    world = (scanned.volume.affine @ np.c_[inside, np.ones(len(inside))].T)[:3] * [[-1], [-1], [1]]
    index = np.linalg.solve(volume.affine, np.vstack([world, np.ones(len(inside))]))[:3]
    np.testing.assert_allclose(index, np.rint(index), atol=1e-3)
    assert (volume.array[tuple(np.rint(index).astype(int))] == 2).all()
    assert (volume.array == 2).sum() == len(inside)


def test_each_frame_refers_to_the_image_of_its_slice(ct: ScannedVolume, seg: Path) -> None:
    uids = [str(dcmread(source[0], stop_before_pixels=True).SOPInstanceUID) for source in ct.sources[0] if source]
    by_image = segread(seg).get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(by_image.transpose(2, 1, 0), blobs())
    found = references(seg)
    assert found.instances == set(uids)
    image = dcmread(next(source[0] for source in ct.sources[0] if source), stop_before_pixels=True)
    assert found.series == {image.SeriesInstanceUID}
    assert found.frame_of_reference == image.FrameOfReferenceUID


def test_each_frame_refers_to_the_frame_of_a_multi_frame_image(tmp_path: Path) -> None:
    scanned = scan(tmp_path / "series", "enhanced_mr")
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs(), scanned, TASK, "1.2.3")
    source = scanned.sources[0][0]
    assert source
    uid = dcmread(source[0], stop_before_pixels=True).SOPInstanceUID
    frames = [entry[1] + 1 for entry in scanned.sources[0] if entry]
    by_frame = segread(path).get_pixels_by_source_frame(
        uid, frames, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(by_frame.transpose(2, 1, 0), blobs())


def test_patient_study_and_terms_are_in_the_object(ct: ScannedVolume, seg: Path) -> None:
    dataset = dcmread(seg)
    source = ct.sources[0][0]
    assert source
    image = dcmread(source[0])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        assert dataset[keyword].value == image[keyword].value
    assert dataset.SeriesInstanceUID != image.SeriesInstanceUID
    assert dataset.ContentQualification == "RESEARCH"
    assert [str(item.SegmentedPropertyTypeCodeSequence[0].CodeValue) for item in dataset.SegmentSequence] == [
        "10200004",
        "78961009",
    ]
    algorithm = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (TASK.name, TASK.version)
    assert [path.name for path in seg.parent.iterdir()] == ["seg.dcm"], "nothing half-written stays"


def test_a_mask_in_which_nothing_was_found_says_what_was_looked_for(ct: ScannedVolume, tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs() * 0, ct, TASK, "1.2.3")
    assert problems(path) == []
    assert [(one.name, bool(one.mask.any())) for one in read_structures(path, ct)] == [
        ("liver", False),
        ("spleen", False),
    ]
    assert not read_back(path, ct).any()


def test_a_label_that_was_not_found_is_described_and_empty(ct: ScannedVolume, tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs() * (blobs() == 2), ct, TASK, "1.2.3")
    assert problems(path) == []
    assert [int(one.mask.sum()) for one in read_structures(path, ct)] == [0, int((blobs() == 2).sum())]


def test_labels_without_codes_and_values_with_gaps_survive(ct: ScannedVolume, tmp_path: Path) -> None:
    labels = tuple(
        label.model_copy(update={"code": None, "value": value})
        for label, value in zip(TASK.labels, (9, 255), strict=True)
    )
    task = TASK.model_copy(update={"labels": labels})
    mask = np.choose(blobs(), [0, 9, 255]).astype(np.uint8)
    path = tmp_path / "seg.dcm"
    write_seg(path, mask, ct, task, "1.2.3")
    assert problems(path) == []
    np.testing.assert_array_equal(read_back(path, ct, task), mask)


def test_an_interpolated_slice_refers_to_no_image(ct: ScannedVolume, tmp_path: Path) -> None:
    sources = list(ct.sources[0])
    sources[3] = ()
    holed = replace(ct, sources=(tuple(sources),))
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs(), holed, TASK, "1.2.3")
    assert problems(path) == []
    frames = dcmread(path).PerFrameFunctionalGroupsSequence
    assert sum(len(frame.DerivationImageSequence) == 0 for frame in frames) == 2, "slice 3 shows both organs"
    np.testing.assert_array_equal(read_back(path, holed), blobs())


def test_a_resampled_volume_takes_patient_and_study_from_the_files_of_its_series(
    ct: ScannedVolume, tmp_path: Path
) -> None:
    files = [source[0] for source in ct.sources[0] if source]
    shape = (26, 31, 9)
    resampled = ScannedVolume(
        Volume(np.zeros((1, *shape), dtype=np.float32), ct.volume.affine @ np.diag([0.8, 0.8, 0.8, 1.0])),
        (((),) * shape[2],),
    )
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs(shape), resampled, TASK, "1.2.3", images=files)
    assert problems(path) == []
    np.testing.assert_array_equal(read_back(path, resampled), blobs(shape))
    assert len(references(path).instances) == len(files)
    with pytest.raises(DataError, match="names no source image") as caught:
        write_seg(path, blobs(shape), resampled, TASK, "1.2.3")
    assert caught.value.reason == "label_reference"
    # On the grid of the scan, of which this one is no part, its frames have no place.
    with pytest.raises(DataError, match="does not lie on the voxels") as caught:
        read_structures(path, ct)
    assert caught.value.reason == "affine_mismatch"


def test_a_source_that_an_anonymiser_emptied_still_gets_a_valid_object(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    original = scan(folder)
    for path in folder.iterdir():
        dataset = dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID", "PatientSex"):
            setattr(dataset, keyword, "")
        del dataset.AccessionNumber, dataset.PatientBirthDate
        dataset.StudyTime = "121212"
        dataset.save_as(path)
        path.write_bytes(path.read_bytes().replace(b"121212", b"midday"))
    path = tmp_path / "seg.dcm"
    write_seg(path, blobs(), original, TASK, "1.2.3")
    assert problems(path) == []
    np.testing.assert_array_equal(read_back(path, original), blobs())


def test_masks_that_do_not_fit_are_not_written(ct: ScannedVolume, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the mask has the shape") as caught:
        write_seg(tmp_path / "seg.dcm", blobs()[:-1], ct, TASK, "1.2.3")
    assert caught.value.reason == "shape_mismatch"
    with pytest.raises(DataError, match=r"label value\(s\) \[7\]") as caught:
        write_seg(tmp_path / "seg.dcm", blobs() * 0 + np.uint8(7), ct, TASK, "1.2.3")
    assert caught.value.reason == "unknown_label"
    assert list(tmp_path.iterdir()) == []


def test_a_seg_of_other_images_is_refused_unless_it_shares_the_frame_of_reference(seg: Path, tmp_path: Path) -> None:
    stranger = scan(tmp_path / "series", "mr")
    with pytest.raises(DataError, match="none of which is in this volume") as caught:
        read_structures(changed(seg, _strange_frame_of_reference), stranger)
    assert caught.value.reason == "label_reference"
    same_frame = dcmread(next((tmp_path / "series").iterdir()), stop_before_pixels=True).FrameOfReferenceUID

    def share(dataset: FileDataset) -> None:
        dataset.FrameOfReferenceUID = same_frame

    np.testing.assert_array_equal(read_back(changed(seg, share), stranger), blobs())


def _strange_frame_of_reference(dataset: FileDataset) -> None:
    dataset.FrameOfReferenceUID = "2.25.1"


def _move_within_plane(dataset: FileDataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        position[0] = float(position[0]) + 0.3


def _move_between_slices(dataset: FileDataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        position[2] = float(position[2]) + 1.25


def _move_by_a_slice(dataset: FileDataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        position[2] = float(position[2]) + 2.5


def _move_beyond(dataset: FileDataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence = []
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        position[2] = float(position[2]) + 25


def _other_spacing(dataset: FileDataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0.7, 0.95]


def _no_position(dataset: FileDataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PlanePositionSequence


def _short_pixels(dataset: FileDataset) -> None:
    dataset.PixelData = dataset.PixelData[:100]


def _wrong_count(dataset: FileDataset) -> None:
    dataset.NumberOfFrames = 10**6


def _unknown_segment(dataset: FileDataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 17


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_move_within_plane, "affine_mismatch"),
        (_move_between_slices, "affine_mismatch"),
        (_move_by_a_slice, "affine_mismatch"),
        (_move_beyond, "affine_mismatch"),
        (_other_spacing, "affine_mismatch"),
        (_no_position, "missing_geometry"),
        (_short_pixels, "undecodable"),
        (_wrong_count, "undecodable"),
        (_unknown_segment, "unreadable"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_seg_that_contradicts_its_images_or_itself_is_refused(
    change: Callable[[FileDataset], None], reason: str, ct: ScannedVolume, seg: Path, tmp_path: Path
) -> None:
    copy = tmp_path / seg.name
    copy.write_bytes(seg.read_bytes())
    with pytest.raises(DataError, match=r"\w") as caught:
        read_structures(changed(copy, change), ct)
    assert caught.value.reason == reason


@pytest.mark.parametrize("size", [0, 200, 1500, 5000])
def test_a_seg_that_is_cut_short_is_refused(size: int, ct: ScannedVolume, seg: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes(seg.read_bytes()[:size])
    with pytest.raises(DataError, match=r"export|SEG") as caught:
        read_structures(path, ct)
    assert caught.value.reason in ("unreadable", "undecodable", "label_reference")


def test_a_flipped_and_cropped_seg_of_the_same_voxels_is_brought_back(
    ct: ScannedVolume, seg: Path, tmp_path: Path
) -> None:
    """Tools that keep masks in their own axis order, or only the box around an organ, are right too."""
    dataset = dcmread(seg)
    pixels = dataset.pixel_array[:, ::-1, 2:16]
    group = dataset.SharedFunctionalGroupsSequence[0]
    group.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        position[0] = float(position[0]) + 2 * 0.9
        position[1] = float(position[1]) + 23 * 0.7
    dataset.Columns = 14
    dataset.PixelData = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    path = tmp_path / "flipped.dcm"
    dataset.save_as(path)
    np.testing.assert_array_equal(read_back(path, ct), blobs())


def _written_by_highdicom(path: Path, ct: ScannedVolume, kind: str, pixels: NDArray[np.generic]) -> None:
    template: Dataset = dcmread(path)
    from highdicom.seg import SegmentDescription

    images = [dcmread(source[0]) for source in ct.sources[0] if source]
    Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[SegmentDescription.from_dataset(item) for item in template.SegmentSequence],
        series_instance_uid="2.25.7",
        series_number=7,
        sop_instance_uid="2.25.8",
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        max_fractional_value=200,
    ).save_as(path)


def test_a_label_map_is_read(ct: ScannedVolume, seg: Path, tmp_path: Path) -> None:
    path = tmp_path / "labelmap.dcm"
    path.write_bytes(seg.read_bytes())
    _written_by_highdicom(path, ct, "LABELMAP", blobs().transpose(2, 1, 0))
    np.testing.assert_array_equal(read_back(path, ct), blobs())


def test_a_fractional_seg_is_cut_at_half_and_says_so(ct: ScannedVolume, seg: Path, tmp_path: Path) -> None:
    path = tmp_path / "fractional.dcm"
    path.write_bytes(seg.read_bytes())
    share = np.zeros((*SHAPE[::-1], 2), dtype=np.float32)
    share[2, 3, 4:8, 0] = (0.1, 0.49, 0.5, 0.9)
    _written_by_highdicom(path, ct, "FRACTIONAL", share)
    liver, spleen = read_structures(path, ct)
    assert [tuple(int(step) for step in voxel) for voxel in np.argwhere(liver.mask)] == [(6, 3, 2), (7, 3, 2)]
    assert not spleen.mask.any()
    assert liver.steps == ("fractional segments cut at half of their maximum",)


def test_an_image_is_no_object(ct: ScannedVolume) -> None:
    source = ct.sources[0][0]
    assert source
    with pytest.raises(DataError, match="another kind of object") as caught:
        references(source[0])
    assert caught.value.reason == "unreadable"
