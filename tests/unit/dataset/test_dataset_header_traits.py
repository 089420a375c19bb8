from pathlib import Path

import pydicom
import pytest
from dicom_cases import a_patient, a_scan  # type: ignore[import-not-found]

from radfed.dataset import header_traits as module
from radfed.dataset.header_traits import header_traits
from radfed.imaging.deid.rules import Action
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.phantoms_dicom import Flavour, write_series

POLICY = DeidSettings()


@pytest.fixture(scope="module")
def slice_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("scan"), a_scan(0), Flavour.MR, a_patient(0), seed=0)[0]


def with_values(slice_file: Path, tmp_path: Path, **values: str | None) -> Path:
    header = pydicom.dcmread(slice_file)
    for keyword, value in values.items():
        if value is None:
            del header[keyword]
        else:
            setattr(header, keyword, value)
    out = tmp_path / "slice.dcm"
    header.save_as(out)
    return out


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("017Y", "under 18"), ("018Y", "18 to 39"), ("059Y", "40 to 59"), ("060Y", "60 to 74"), ("075Y", "75 and over"),
        ("003D", "under 18"), ("011M", "under 18"), ("999W", "18 to 39"), ("096Y", "75 and over"), (None, None),
        ("", None),
    ],
)  # fmt: skip
def test_an_age_is_a_band(slice_file: Path, tmp_path: Path, age: str | None, band: str | None) -> None:
    assert header_traits(with_values(slice_file, tmp_path, PatientAge=age), POLICY)["age_band"] == band


@pytest.mark.parametrize(
    ("sex", "view", "expected"),
    [
        ("F", "PA", ("F", "PA")), ("M", "AP", ("M", "AP")), ("O", "LL", ("O", "LL")), ("X", "LAT", (None, "LATERAL")),
        ("", "", (None, None)), ("MEIER", "DR MEIER", (None, None)), (None, "RL", (None, "RL")),
    ],
)  # fmt: skip
def test_sex_and_projection_are_of_closed_lists(
    slice_file: Path, tmp_path: Path, sex: str | None, view: str, expected: tuple[str | None, str | None]
) -> None:
    found = header_traits(with_values(slice_file, tmp_path, PatientSex=sex, ViewPosition=view), POLICY)
    assert (found["sex"], found["projection"]) == expected


def test_an_age_beyond_the_sites_cap_has_no_band_but_the_oldest(slice_file: Path, tmp_path: Path) -> None:
    old = with_values(slice_file, tmp_path, PatientAge="070Y")
    assert header_traits(old, DeidSettings(max_age=70))["age_band"] == "60 to 74"
    assert header_traits(old, DeidSettings(max_age=65))["age_band"] is None
    oldest = with_values(slice_file, tmp_path, PatientAge="094Y")
    assert header_traits(oldest, DeidSettings(max_age=80))["age_band"] == "75 and over"


@pytest.mark.parametrize("taken", [Action.REMOVE, Action.EMPTY])
def test_what_the_policy_takes_away_is_not_read(
    slice_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: Action
) -> None:
    path = with_values(slice_file, tmp_path, PatientSex="F", PatientAge="050Y", ViewPosition="AP")
    assert header_traits(path, POLICY) == {"sex": "F", "age_band": "40 to 59", "projection": "AP"}
    monkeypatch.setattr(module, "action", lambda _tag, _vr: taken)
    assert header_traits(path, POLICY) == {"sex": None, "age_band": None, "projection": None}


def test_no_age_is_worked_out_of_dates(slice_file: Path, tmp_path: Path) -> None:
    path = with_values(slice_file, tmp_path, PatientAge=None, PatientBirthDate="19500101", StudyDate="20200101")
    assert header_traits(path, POLICY)["age_band"] is None


def test_a_header_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64)
    assert set(header_traits(tmp_path / "broken.dcm", POLICY).values()) == {None}
