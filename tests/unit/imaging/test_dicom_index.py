import os
import shutil
from pathlib import Path

import dicom_files as files  # type: ignore[import-not-found]
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radfed.imaging.dicom.header import read_header
from radfed.imaging.dicom.index import Index, archives, dicom_files, index_folder, make_index
from radfed.imaging.dicom.read import read_series


def test_a_tree_is_sorted_into_series_objects_and_the_rest(tmp_path: Path) -> None:
    paths = files.series(tmp_path / "a" / "b", files.ramp(3), files.positions(3))
    shutil.copy(paths[0], tmp_path / "copy")
    segmentation = files.dataset(files.ramp(1)[0], sop_class="1.2.840.10008.5.1.4.1.1.66.4", Modality="SEG")
    files.save(segmentation, tmp_path / "seg.dcm")
    report = files.dataset(
        files.ramp(1)[0], sop_class="1.2.840.10008.5.1.4.1.1.88.33", Modality="SR", PixelData=None, Rows=None
    )
    files.save(report, tmp_path / "sr.dcm")
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "more.zip").write_bytes(b"PK")
    (tmp_path / "image.nii.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "DICOMDIR").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"DICM")
    (tmp_path / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 50)
    found = index_folder(tmp_path)
    (one,) = found.series
    assert (one.id, one.number, one.modality, len(one.instances)) == (files.uid("series"), 3, "CT", 3)
    assert {instance.modality for instance in found.objects} == {"SEG", "SR"}
    assert [broken.path.name for broken in found.broken] == ["broken.dcm"]
    assert [path.name for path in found.archives] == ["more.zip"]
    assert (found.foreign, found.duplicates) == (1, 1)


def test_links_are_followed_only_within_the_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (path,) = files.series(inside, files.ramp(1), files.positions(1))
    (other,) = files.series(outside, files.ramp(1), files.positions(1, origin=(0.0, 0.0, 9.0)))
    os.symlink(path, inside / "alias.dcm")
    os.symlink(other, inside / "escape.dcm")
    os.symlink(outside, inside / "folder")
    assert [found.name for found in dicom_files(inside)] == ["000.dcm", "alias.dcm"]
    assert archives(inside) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), copied=st.sets(st.integers(0, 5)), seed=st.integers(0, 10**6))
def test_names_order_and_copies_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], copied: set[int], seed: int
) -> None:
    plain, shuffled = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("shuffled")
    voxels, places = files.ramp(6), files.positions(6)
    paths = files.series(plain, voxels, places)
    rng = np.random.default_rng(seed)
    for number in order:
        shutil.copy(paths[number], shuffled / f"{rng.integers(10**9)}-{number}")
    for number in copied:
        (shuffled / "again").mkdir(exist_ok=True)
        shutil.copy(paths[number], shuffled / "again" / str(number))
    (expected,) = index_folder(plain).series
    headers = [read_header(path) for path in dicom_files(shuffled)]
    rng.shuffle(headers)
    found = make_index(headers)
    (one,) = found.series
    assert found.duplicates == len(copied)
    assert (one.id, one.digest) == (expected.id, expected.digest)
    assert [instance.digest for instance in one.instances] == [instance.digest for instance in expected.instances]
    volume, reference = read_series(one).volume, read_series(expected).volume
    np.testing.assert_array_equal(volume.array, reference.array)
    np.testing.assert_array_equal(volume.affine, reference.affine)


def only(folder: Path, count: int) -> Index:
    found = index_folder(folder)
    assert len(found.series) == count, [(one.id, len(one.slices)) for one in found.series]
    return found


def test_a_copy_with_another_private_header_is_a_duplicate(tmp_path: Path) -> None:
    voxels, places = files.ramp(3), files.positions(3)
    files.series(tmp_path / "one", voxels, places)
    files.series(tmp_path / "two", voxels, places, InstitutionName="Elsewhere")
    found = only(tmp_path, 1)
    assert found.duplicates == 3
    assert len(found.series[0].instances) == 3


def test_without_a_series_uid_the_name_is_a_digest_of_what_the_files_share(tmp_path: Path) -> None:
    files.series(tmp_path / "one", files.ramp(3), files.positions(3), SeriesInstanceUID="", SOPInstanceUID="")
    (one,) = only(tmp_path, 1).series
    shutil.move(tmp_path / "one", tmp_path / "two")
    (again,) = only(tmp_path, 1).series
    assert one.id == again.id
    assert one.id.startswith("unnamed-")
    assert len(one.instances) == 3
    files.series(
        tmp_path / "three", files.ramp(3), files.positions(3), SeriesInstanceUID="", SOPInstanceUID="", SeriesNumber=4
    )
    only(tmp_path, 2)


DIFFERENT = [
    {"ImageOrientationPatient": [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]},
    {"FrameOfReferenceUID": files.uid("another place")},
    {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
    {"StudyInstanceUID": files.uid("another study")},
    {"Modality": "PT"},
]


@pytest.mark.parametrize("changed", DIFFERENT, ids=lambda changed: next(iter(changed)))
def test_what_cannot_be_one_volume_is_divided(tmp_path: Path, changed: dict[str, object]) -> None:
    voxels = files.ramp(25)
    files.series(tmp_path / "one", voxels, files.positions(25))
    orientation = changed.get("ImageOrientationPatient", files.AXIAL)
    places = files.positions(24, orientation, origin=(0.0, 0.0, 500.0))
    files.series(tmp_path / "two", voxels[:24], places, **changed)
    found = only(tmp_path, 2)
    assert [len(one.instances) for one in found.series] == [25, 24]
    assert [one.id for one in found.series] == [files.uid("series"), files.uid("series") + "#2"]


def test_another_shape_is_another_volume(tmp_path: Path) -> None:
    files.series(tmp_path / "one", files.ramp(4), files.positions(4))
    files.series(tmp_path / "two", files.ramp(3, rows=9), files.positions(3, origin=(0.0, 0.0, 90.0)))
    assert [one.first.rows for one in only(tmp_path, 2).series] == [5, 9]


def test_stacks_of_two_thicknesses_are_divided_where_that_makes_both_regular(tmp_path: Path) -> None:
    thin = files.positions(4, distance=4.0)
    thick = files.positions(5, distance=7.0, origin=(-10.0, 20.0, 44.0))
    files.series(tmp_path / "one", files.ramp(4), thin, SliceThickness=4.0)
    files.series(tmp_path / "two", files.ramp(5), thick, SliceThickness=7.0)
    assert [one.slice_thickness for one in only(tmp_path, 2).series] == [7.0, 4.0]


def test_a_hole_between_acquisitions_is_not_hidden_by_dividing(tmp_path: Path) -> None:
    places = [place for number, place in enumerate(files.positions(9)) if number != 4]
    acquisitions = files.PerSlice([1, 1, 1, 1, 2, 2, 2, 2])
    files.series(tmp_path, files.ramp(8), places, AcquisitionNumber=acquisitions)
    only(tmp_path, 1)


def test_acquisitions_at_the_same_places_but_not_equally_many_are_divided(tmp_path: Path) -> None:
    files.series(tmp_path / "one", files.ramp(5), files.positions(5), AcquisitionNumber=1)
    files.series(tmp_path / "two", files.ramp(3) + 500, files.positions(3), AcquisitionNumber=2)
    found = index_folder(tmp_path)
    assert sorted(len(one.instances) for one in found.series) == [3, 5]


def test_frames_of_two_kinds_in_one_file_are_two_series(tmp_path: Path) -> None:
    places = files.positions(3) * 2
    kinds = [["ORIGINAL", "PRIMARY", "T1", "M"]] * 3 + [["ORIGINAL", "PRIMARY", "T1", "FIELD_MAP"]] * 3
    voxels = files.ramp(6)
    files.save(files.enhanced(voxels, places, [(1.0, 0.0)] * 6, frame_types=kinds), tmp_path / "one.dcm")
    first, second = only(tmp_path, 2).series
    chosen = [numbers for one in (first, second) for numbers in one.frame_numbers or ()]
    assert sorted(chosen) == [(0, 1, 2), (3, 4, 5)]
    assert first.digest != second.digest
    for one, numbers in zip((first, second), chosen, strict=True):
        scanned = read_series(one)
        np.testing.assert_array_equal(scanned.volume.array[0], voxels[list(numbers)].transpose(2, 1, 0))
        assert [source[1] for source in scanned.sources[0] if source] == list(numbers)
