import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantoms import a_volume, patient  # type: ignore[import-not-found]

from radfed.imaging.phantoms_dicom import (
    IDENTIFIER_FAULTS,
    FakePatient,
    Fault,
    Flavour,
    fake_patient,
    planted_values,
    write_series,
)

EVERYTHING: frozenset[Fault] = frozenset(IDENTIFIER_FAULTS - {"unflagged_text"})


def raw(paths: tuple[Path, ...]) -> bytes:
    return b"".join(path.name.encode() + path.read_bytes() for path in paths)


def where(dataset: pydicom.Dataset, value: str) -> list[str]:
    """Keywords or tags of the elements, nested ones too, whose bytes hold the value."""
    found = []
    for element in dataset.iterall():
        held = element.value if isinstance(element.value, bytes) else str(element.value).encode()
        if element.VR != "SQ" and value.encode() in held:
            found.append(element.keyword if element.tag.group < 0x5000 and element.keyword else str(element.tag))
    return found


def test_equal_generators_give_equal_patients_and_others_differ() -> None:
    assert patient(3) == patient(3)
    people = [patient(number) for number in range(60)]
    for unique in ("id", "other_id", "accession", "study_id", "phone"):
        assert len({getattr(someone, unique) for someone in people}) == 60


@pytest.mark.parametrize("number", range(8))
def test_patients_are_plausible_and_their_planted_values_can_be_searched(number: int) -> None:
    someone = patient(number)
    planted = planted_values(someone)
    assert someone.sex in ("F", "M")
    assert int(someone.study_date[:4]) - int(someone.birth_date[:4]) == int(someone.age[:3]) + 1
    # Short or ordinary strings would be found by chance in what is not identifying.
    assert all(len(value) >= 5 for value in planted)
    strings = {getattr(someone, name) for name in FakePatient.__slots__} - {
        someone.sex,
        someone.age,
        someone.study_time,
    }
    assert strings <= planted


@pytest.mark.parametrize("flavour", Flavour)
def test_every_planted_value_is_really_in_the_files(flavour: Flavour, tmp_path: Path) -> None:
    for number in range(3):
        someone = patient(number)
        paths = write_series(tmp_path / str(number), a_volume(), flavour, someone, seed=1, faults=EVERYTHING)
        content = raw(paths)
        missing = {value for value in planted_values(someone) if value.encode() not in content}
        assert missing == set()


def test_nothing_else_of_the_patient_is_planted_than_is_told(tmp_path: Path) -> None:
    """A second patient's files differ from the first one's in told values only."""
    someone, other = patient(0), patient(1)
    paths = write_series(tmp_path, a_volume(), "mr", someone, seed=1, faults=EVERYTHING)
    shared = planted_values(someone) & planted_values(other)
    content = raw(paths)
    assert not [value for value in planted_values(other) - shared if value.encode() in content]


@pytest.mark.parametrize(
    ("fault", "places"),
    [
        (
            "nested_phi",
            {"PatientName", "OtherPatientNames", "RequestedProcedureDescription", "CodeMeaning"},
        ),
        ("description_phi", {"PatientName", "SeriesDescription", "ImageComments", "PatientComments"}),
        ("overlay_phi", {"PatientName", "(6000,0022)", "(6000,1500)", "(5000,0022)"}),
        ("private_phi", {"PatientName", "(0011,1001)", "(0011,1011)", "(0011,1012)", "(0029,1110)", "(0013,1001)"}),
    ],
)
def test_each_fault_plants_the_family_name_in_its_places(fault: Fault, places: set[str], tmp_path: Path) -> None:
    someone = patient()
    path = write_series(tmp_path, a_volume(), "mr", someone, seed=1, faults=[fault])[0]
    assert places <= set(where(pydicom.dcmread(path), someone.family))


def test_without_faults_only_the_attributes_made_for_it_identify(tmp_path: Path) -> None:
    someone = patient()
    paths = write_series(tmp_path, a_volume(), "mr", someone, seed=1)
    dataset = pydicom.dcmread(paths[0])
    assert where(dataset, someone.family) == ["PatientName"]
    assert where(dataset, someone.id) == ["PatientID"]
    assert someone.comment.encode() not in raw(paths)
    assert dataset.preamble == b"\0" * 128


def test_file_meta_and_preamble_hold_identifiers(tmp_path: Path) -> None:
    someone = patient()
    path = write_series(tmp_path, a_volume(), "ct", someone, seed=1, faults={"meta_phi"})[0]
    dataset = pydicom.dcmread(path)
    assert dataset.preamble.startswith(someone.comment.encode()[:60])
    assert dataset.file_meta.SourceApplicationEntityTitle == someone.station
    assert someone.id.encode() in dataset.file_meta.PrivateInformation
    assert someone.name.encode() in dataset.DataSetTrailingPadding


def test_file_names_hold_the_patient(tmp_path: Path) -> None:
    someone = patient()
    paths = write_series(tmp_path, a_volume(), "ct", someone, seed=1, faults={"filename_phi", "localizer"})
    assert all(someone.family in path.name and someone.id in path.name for path in paths)


@pytest.mark.parametrize(("fault", "flag"), [("burned_in", "YES"), ("unflagged_text", None)])
def test_text_is_drawn_in_the_pixels_with_and_without_the_flag(fault: Fault, flag: str | None, tmp_path: Path) -> None:
    volume = a_volume(low=100, high=1000, shape=(96, 90, 4))
    clean = write_series(tmp_path / "clean", volume, "mr", patient(), seed=1)
    drawn = write_series(tmp_path / "drawn", volume, "mr", patient(), seed=1, faults=[fault])
    for before, after in zip(clean, drawn, strict=True):
        dataset = pydicom.dcmread(after)
        assert dataset.get("BurnedInAnnotation") == flag
        changed = np.flatnonzero((dataset.pixel_array != pydicom.dcmread(before).pixel_array).any(axis=1))
        assert changed.min() == 0
        assert 15 < changed.max() < 90  # the lower part of the picture is left
        top = dataset.pixel_array[: changed.max() + 1]
        strokes = float((top == top.max()).mean())
        assert set(np.unique(top)) == {top.min(), top.max()}
        assert 0.03 < strokes < 0.5
    assert pydicom.dcmread(clean[0]).BurnedInAnnotation == "NO"


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_the_drawn_text_can_be_read(tmp_path: Path) -> None:
    import pytesseract
    from PIL import Image

    someone = fake_patient(np.random.default_rng(0))
    volume = a_volume(low=0, high=0, shape=(256, 256, 1))
    volume.array[0, 250:, 250:] = 1000
    path = write_series(tmp_path, volume, "mr", someone, seed=1, faults={"burned_in"})[0]
    pixels = pydicom.dcmread(path).pixel_array
    picture = Image.fromarray((pixels * (255.0 / pixels.max())).astype(np.uint8)).resize((768, 768))
    read = pytesseract.image_to_string(picture, config="--psm 6")
    assert someone.id[2:] in read.replace(" ", "")


def test_the_overlay_shows_the_name(tmp_path: Path) -> None:
    volume = a_volume(shape=(120, 60, 4))
    path = write_series(tmp_path, volume, "mr", patient(), seed=1, faults={"overlay_phi"})[0]
    overlay = pydicom.dcmread(path).overlay_array(0x6000)
    assert overlay.shape == (60, 120)
    assert 30 < overlay.sum() < 0.3 * overlay.size
