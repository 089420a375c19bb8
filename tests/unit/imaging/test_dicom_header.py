import pickle
import zlib
from hashlib import sha256
from pathlib import Path

import dicom_files as files  # type: ignore[import-not-found]
import numpy as np
import pydicom
import pytest

from radfed.imaging.dicom import header
from radfed.imaging.dicom.header import Broken, Instance, read_header

ENCODED = [
    pydicom.uid.ImplicitVRLittleEndian,
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    pydicom.uid.DeflatedExplicitVRLittleEndian,
]


def read(path: Path) -> Instance:
    found = read_header(path)
    assert isinstance(found, Instance), found
    return found


@pytest.mark.parametrize("syntax", ENCODED, ids=lambda syntax: str(syntax.name).replace(" ", "_"))
def test_the_same_values_are_read_from_every_encoding(tmp_path: Path, syntax: str) -> None:
    made = files.dataset(
        files.ramp(1)[0],
        InstanceNumber=7,
        SpecificCharacterSet="ISO_IR 192",
        SeriesDescription="Kopf nativ, Größe 2",
        MagneticFieldStrength=1.5,
        BurnedInAnnotation="NO",
        AcquisitionNumber=4,
        EchoTime=30.5,
    )
    made.file_meta.TransferSyntaxUID = syntax
    path = files.save(made, tmp_path / "one.dcm")
    found = read(path)
    assert (found.rows, found.columns, found.frames, found.samples) == (5, 6, 1, 1)
    assert (found.bits_allocated, found.bits_stored, found.high_bit, found.signed) == (16, 16, 15, 1)
    assert found.series_description == "Kopf nativ, Größe 2"
    assert (found.burned_in, found.field_strength, found.instance_number) == ("NO", 1.5, 7)
    assert found.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert (found.position, found.orientation) == ((0.0, 0.0, 0.0), files.AXIAL)
    assert (found.pixel_spacing, found.slice_thickness) == ((0.8, 0.5), 2.0)
    frame = found.details[0]
    assert (frame.slope, frame.intercept, frame.acquisition, frame.echo) == (1.0, -1024.0, 4, 30.5)
    assert found.transfer_syntax == syntax
    assert found.pixel_length == 60
    assert found.digest == sha256(path.read_bytes()).hexdigest()


def test_where_pixels_lie_is_known(tmp_path: Path) -> None:
    pixels = files.ramp(1)[0]
    path = files.save(files.dataset(pixels), tmp_path / "one.dcm")
    found = read(path)
    assert path.read_bytes()[found.pixel_offset : found.pixel_offset + 60] == pixels.tobytes()


def test_files_without_a_preamble_are_read(tmp_path: Path) -> None:
    whole = files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm").read_bytes()
    (tmp_path / "bare").write_bytes(whole[132:])
    assert read(tmp_path / "bare").sop_instance == read(tmp_path / "one.dcm").sop_instance


@pytest.mark.parametrize(
    "content", [b"", b"DICM", b"{}", b"\x08\x00" * 3, b"\x02\x00\x10\x00UI\xff\xff" + b"x" * 40, bytes(range(256)) * 9]
)
def test_other_files_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    found = read_header(tmp_path / "other")
    assert found is None or isinstance(found, Broken) or not found.details


def test_a_directory_of_media_is_passed_over(tmp_path: Path) -> None:
    made = files.dataset(files.ramp(1)[0], sop_class="1.2.840.10008.1.3.10")
    assert read_header(files.save(made, tmp_path / "index")) is None


@pytest.mark.parametrize("kept", [140, 200, 300, 500, 700])
def test_a_file_cut_short_never_raises(tmp_path: Path, kept: int) -> None:
    whole = files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:kept])
    found = read_header(tmp_path / "cut")
    assert isinstance(found, Broken | Instance)
    if isinstance(found, Broken):
        assert found.reason == "unreadable"
        assert str(tmp_path) not in found.message
    assert kept > len(whole) - 60 or isinstance(found, Broken)


def test_pixels_cut_short_are_still_an_image(tmp_path: Path) -> None:
    whole = files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-7])
    assert read(tmp_path / "cut").details


@pytest.mark.parametrize(
    ("keyword", "value", "field"),
    [
        ("ImagePositionPatient", b"1\\2\\nan ", "position"),
        ("ImagePositionPatient", b"1\\2", "position"),
        ("ImagePositionPatient", b"1\\2\\1e999", "position"),
        ("ImageOrientationPatient", b"a\\b\\c\\d\\e\\f ", "orientation"),
        ("PixelSpacing", b"0,5\\0,5 ", "pixel_spacing"),
        ("SliceThickness", b"thin", "slice_thickness"),
    ],
)
def test_a_value_that_is_no_number_is_missing(tmp_path: Path, keyword: str, value: bytes, field: str) -> None:
    made = files.dataset(files.ramp(1)[0])
    element = made[keyword]
    raw = pydicom.dataelem.RawDataElement(element.tag, "DS", len(value), value, 0, False, True)
    made._dict[element.tag] = raw
    assert getattr(read(files.save(made, tmp_path / "one.dcm")), field) is None


def test_an_inflating_bomb_is_broken_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MAX_INFLATED", 1000)
    made = files.dataset(np.zeros((100, 100), np.int16))
    made.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    found = read_header(files.save(made, tmp_path / "bomb"))
    assert isinstance(found, Broken)
    assert "ValueError" in found.message


def test_a_damaged_deflated_file_is_broken(tmp_path: Path) -> None:
    made = files.dataset(np.zeros((10, 10), np.int16))
    made.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    path = files.save(made, tmp_path / "one")
    whole = bytearray(path.read_bytes())
    whole[-60:-30] = zlib.compress(b"something else")[:30].ljust(30, b"\xff")
    path.write_bytes(whole)
    assert isinstance(read_header(path), Broken)


@pytest.mark.parametrize("frames", [0, -3, 10**7])
def test_impossible_numbers_of_frames_are_broken(tmp_path: Path, frames: int) -> None:
    found = read_header(files.save(files.dataset(files.ramp(1)[0], NumberOfFrames=frames), tmp_path / "one"))
    assert isinstance(found, Broken) or (frames == 0 and isinstance(found, Instance) and found.frames == 1)


def test_functional_groups_must_be_as_many_as_frames(tmp_path: Path) -> None:
    made = files.enhanced(files.ramp(3), files.positions(3), [(1.0, 0.0)] * 3)
    made.NumberOfFrames = 2
    assert isinstance(read_header(files.save(made, tmp_path / "one")), Broken)


def test_each_frame_of_an_enhanced_image_has_its_own_place_and_rescale(tmp_path: Path) -> None:
    places = files.positions(3)
    made = files.enhanced(files.ramp(3), places, [(1.5, 0.0), (2.0, 1.0), (2.5, 2.0)], temporal=[1, 1, 2])
    found = read(files.save(made, tmp_path / "one"))
    assert [frame.position for frame in found.details] == [tuple(place) for place in places]
    assert [(frame.slope, frame.intercept) for frame in found.details] == [(1.5, 0.0), (2.0, 1.0), (2.5, 2.0)]
    assert [frame.temporal for frame in found.details] == [1, 1, 2]
    assert {frame.orientation for frame in found.details} == {files.AXIAL}


def test_an_instance_is_small_and_travels_between_processes(tmp_path: Path) -> None:
    found = read(files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm"))
    packed = pickle.dumps(found)
    assert pickle.loads(packed) == found
    assert len(packed) < 3000


def test_deep_nesting_is_broken_not_a_crash(tmp_path: Path) -> None:
    path = files.save(files.dataset(files.ramp(1)[0]), tmp_path / "one.dcm")
    whole = path.read_bytes()
    at = whole.index(b"\x18\x00\x50\x00DS")  # before SliceThickness
    opened = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(whole[:at] + opened * 5000 + whole[at:])
    found = read_header(path)
    assert isinstance(found, Broken)
    assert "RecursionError" in found.message
