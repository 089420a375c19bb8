from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from radfed.dataset import pseudonyms
from radfed.errors import DataError
from radfed.imaging.deid.engine import Deidentifier
from radfed.imaging.deid.heads import is_head
from radfed.imaging.deid.identity import new_uid, patient_pseudonym, shift_date, shift_date_time, shift_days
from radfed.imaging.deid.marks import METHODS
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.deid.words import allowed_words, clean_text, plain_text

SECRET = b"s" * 32


def _dataset(**values: object) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.StudyInstanceUID, dataset.PatientID, dataset.PatientName = "1.3.6.1.4.1.99999.1", "P-1", "Doe^Jane"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _clean(dataset: Dataset, **settings: object) -> Dataset:
    return Deidentifier(SECRET, DeidSettings.model_validate(settings))(dataset)


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("BRAIN SEQ  4.8  H31s", "BRAIN SEQ 4.8 H31s"),
        ("sag_t1_mprage", "sag t1 mprage"),
        ("CT Thorax 5mm B30f", "CT Thorax 5mm B30f"),
        ("t2 Doe, Jane", "t2"),
        ("Doe^Jane^^Prof", ""),
        ("born 31.01.1970", ""),
        ("born 31/01/70 brain", "brain"),
        ("31 01 70", ""),
        ("call 555 12 34, chest", "chest"),
        ("MRN1234567 liver", "liver"),
        ("MÜLLER liver", "liver"),
        ("", ""),
    ],
)
def test_only_known_words_and_measures_are_kept(text: str, kept: str) -> None:
    assert clean_text(text, allowed_words(())) == kept


def test_a_site_adds_its_own_words() -> None:
    dataset = _dataset(SeriesDescription="T1 Acme-Quickscan Doe", StudyDescription="Doe")
    clean = _clean(dataset, descriptors=("ACME", "quickscan"))
    assert clean.SeriesDescription == "T1 Acme Quickscan"
    assert "StudyDescription" not in clean


@given(st.text(max_size=80))
def test_what_is_kept_of_any_text_is_ascii_stood_in_it_and_is_kept_again(text: str) -> None:
    allowed = allowed_words(())
    kept = clean_text(text, allowed)
    assert kept.isascii()
    assert all(word in text for word in kept.split())
    assert plain_text(plain_text(text)) == plain_text(text)


def test_names_of_equipment_lose_what_looks_like_an_identifier() -> None:
    assert plain_text("syngo MR E11 12345678 a@b Doe^J") == "syngo MR E11"


@given(st.dates(), st.integers(-3650, -1))
def test_a_date_moves_by_whole_days_and_a_time_stays(day: object, days: int) -> None:
    from datetime import date, timedelta

    assert isinstance(day, date)
    written = day.strftime("%Y%m%d").zfill(8)
    try:
        expected = (day + timedelta(days=days)).strftime("%Y%m%d").zfill(8)
    except OverflowError:
        expected = ""
    assert shift_date(written, days) == expected
    moved = shift_date_time(f"{written}235959.5-0500", days)
    assert moved == (f"{expected}235959.5-0500" if expected else "")


@pytest.mark.parametrize(
    ("value", "moved"), [("2020", "2020"), ("202003", "202002"), ("20200301+0100", "20200215+0100")]
)
def test_a_date_time_keeps_its_precision(value: str, moved: str) -> None:
    assert shift_date_time(value, -15) == moved


@pytest.mark.parametrize("value", ["", "20201301", "yesterday", "2020-01-01", "20200101 Doe"])
def test_what_is_no_date_is_emptied(value: str) -> None:
    assert shift_date(value, -5) == ""
    assert shift_date_time(value, -5) == ""


def test_the_shift_is_the_patients_own_and_secret() -> None:
    shifts = {shift_days(SECRET, f"P{number}", 365) for number in range(300)}
    assert shifts <= set(range(-365, 0))
    assert len(shifts) > 100
    assert shift_days(SECRET, "P1", 3650) != shift_days(b"t" * 32, "P1", 3650)


def test_pseudonyms_are_those_of_the_dataset() -> None:
    for raw in ("P-1", "", "Müller", "0001"):
        assert patient_pseudonym(SECRET, raw) == pseudonyms.patient_pseudonym(SECRET, raw)
    assert _clean(_dataset()).PatientID == pseudonyms.patient_pseudonym(SECRET, "P-1")


def test_a_new_uid_is_valid_keyed_and_leaves_the_standards_own() -> None:
    uid = new_uid(SECRET, "1.3.6.1.4.1.99999.1")
    assert pydicom.uid.UID(uid).is_valid
    assert uid == new_uid(SECRET, "1.3.6.1.4.1.99999.1\0")
    assert uid != new_uid(b"t" * 32, "1.3.6.1.4.1.99999.1")
    assert new_uid(SECRET, "1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert new_uid(SECRET, "") == ""


def test_the_marks_say_what_was_done() -> None:
    clean = _clean(_dataset(BurnedInAnnotation="NO", BodyPartExamined="HEAD"))
    assert clean.PatientIdentityRemoved == "YES"
    assert clean.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "PS3.15 2026d" in clean.DeidentificationMethod[0]
    assert all(len(text) <= 64 for text in clean.DeidentificationMethod)
    codes = [(item.CodeValue, item.CodeMeaning) for item in clean.DeidentificationMethodCodeSequence]
    assert codes == list(METHODS)
    assert {"113100", "113105", "113107", "113111"} <= {value for value, _ in codes}
    assert clean.BurnedInAnnotation == "NO"
    assert clean.RecognizableVisualFeatures == "YES"
    assert "RecognizableVisualFeatures" not in _clean(_dataset(BodyPartExamined="ABDOMEN"))


@pytest.mark.parametrize(
    ("age", "kept"), [("045Y", "045Y"), ("089Y", "089Y"), ("090Y", "089Y"), ("011M", "011M"), ("old", None)]
)
def test_age_is_capped(age: str, kept: str | None) -> None:
    dataset = _dataset(PatientBirthDate="19300101")
    dataset[0x00101010] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x00101010), "AS", len(age), age.encode(), 0, False, True
    )
    clean = _clean(dataset)
    assert clean.get("PatientAge") == kept
    assert not clean.PatientBirthDate


def test_a_file_without_a_patient_gets_one_of_its_study() -> None:
    one, other = _dataset(PatientID=""), _dataset(PatientID=None, StudyInstanceUID="1.3.6.1.4.1.99999.2")
    assert _clean(one).PatientID.startswith("pat-")
    assert _clean(one).PatientID != _clean(other).PatientID


def test_the_source_is_left_as_it_was() -> None:
    dataset = _dataset(SeriesDescription="T1 Doe", ReferencedImageSequence=Sequence([_item(PatientName="Doe^Jane")]))
    before = dataset.to_json()
    _clean(dataset)
    assert dataset.to_json() == before


def test_codes_of_public_schemes_stay_and_those_of_the_hospital_do_not() -> None:
    liver = _item(CodeValue="10200004", CodingSchemeDesignator="SCT", CodeMeaning="Liver")
    planted = _item(CodeValue="10200004", CodingSchemeDesignator="SCT", CodeMeaning="Doe Jane")
    local = _item(CodeValue="DOE1", CodingSchemeDesignator="99HOSP", CodingSchemeVersion="Doe", CodeMeaning="brain Doe")
    unlisted = _item(CodeValue="12345678901", CodingSchemeDesignator="SCT", CodeMeaning="Doe's disease")
    clean = _clean(_dataset(ProcedureCodeSequence=Sequence([liver, planted, local, unlisted])))
    codes = [(code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) for code in clean.ProcedureCodeSequence]
    assert codes[:2] == [("10200004", "SCT", "Liver")] * 2
    assert codes[2][1:] == ("99RADFED", "brain")
    assert codes[2][0] != "DOE1"
    assert len(codes[2][0]) <= 16
    assert "CodingSchemeVersion" not in clean.ProcedureCodeSequence[2]
    assert codes[3] == ("12345678901", "SCT", "REMOVED")


def test_private_attributes_go_but_those_known_to_be_safe() -> None:
    dataset = _dataset()
    dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    dataset.add_new(0x0019100C, "IS", "1000")
    dataset.add_new(0x00191008, "CS", "IMAGE NUM 4")
    dataset.add_new(0x00190011, "LO", "SOMEBODY ELSE")
    dataset.add_new(0x0019110C, "IS", "1000")
    dataset.add_new(0x20010010, "LO", "Philips Imaging DD 001")
    dataset.add_new(0x2001106E, "SH", "brain Doe")
    dataset.add_new(0x2001107D, "OB", b"DoeJane^")
    clean = _clean(dataset)
    kept = {f"{tag:08X}": clean[tag].value for tag in clean.keys() if tag.is_private}  # noqa: SIM118
    assert kept == {
        "00190010": "SIEMENS MR HEADER",
        "0019100C": 1000,
        "20010010": "Philips Imaging DD 001",
        "2001106E": "brain",
    }


def test_a_safe_private_attribute_of_another_kind_of_value_goes() -> None:
    dataset = _dataset()
    dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    dataset.add_new(0x0019100C, "LO", "Doe Jane")
    assert not [tag for tag in _clean(dataset).keys() if tag.is_private]  # noqa: SIM118


def test_values_that_are_not_what_their_kind_says_go() -> None:
    dataset = _dataset()
    raw = pydicom.dataelem.RawDataElement
    for tag, vr, value in (
        (0x00180050, "DS", b"Doe Jane"),
        (0x00180022, "CS", b"Doe, Jane & Co"),
        (0x00080030, "TM", b"Doe^J "),
    ):
        dataset[tag] = raw(pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True)
    clean = _clean(dataset)
    assert "SliceThickness" not in clean
    assert not clean.ScanOptions
    assert not clean.StudyTime


def test_a_report_of_another_patient_in_a_sequence_gets_that_patients_pseudonym() -> None:
    other = _item(PatientID="P-2", PatientName="Roe^Richard")
    same = _item(PatientName="Doe^Jane")
    clean = _clean(_dataset(SourceImageSequence=Sequence([other, same])))
    assert clean.SourceImageSequence[0].PatientID == pseudonyms.patient_pseudonym(SECRET, "P-2")
    assert clean.SourceImageSequence[0].PatientName == clean.SourceImageSequence[0].PatientID
    assert clean.SourceImageSequence[1].PatientName == clean.PatientID


def test_nesting_without_end_is_refused() -> None:
    dataset = _dataset()
    inner = _item(PatientName="Doe^Jane")
    for _ in range(40):
        inner = _item(SourceImageSequence=Sequence([inner]))
    dataset.SourceImageSequence = Sequence([inner])
    with pytest.raises(DataError, match="nested more than 32 deep") as caught:
        _clean(dataset)
    assert caught.value.reason == "unreadable"


def test_structures_without_an_allowed_name_stay_apart() -> None:
    regions = [_item(ROINumber=number, ROIName=name) for number, name in ((1, "Liver"), (4, "Prof Doe"), (5, "Doe 2"))]
    segments = [_item(SegmentNumber=1, SegmentLabel="Doe")]
    clean = _clean(_dataset(StructureSetROISequence=Sequence(regions), SegmentSequence=Sequence(segments)))
    assert [roi.ROIName for roi in clean.StructureSetROISequence] == ["Liver", "ROI 4", "2"]
    assert clean.SegmentSequence[0].SegmentLabel == "Segment 1"


def test_the_result_can_be_written_in_any_character_set() -> None:
    for character_set in ("ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 87", "Doe Jane"):
        dataset = _dataset()
        dataset[0x00080005] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(0x00080005), "CS", len(character_set), character_set.encode(), 0, False, True
        )
        clean = _clean(dataset)
        clean.file_meta = FileMetaDataset()
        clean.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        buffer = BytesIO()
        clean.save_as(buffer)
        assert b"Doe" not in buffer.getvalue()


@pytest.mark.parametrize(
    ("values", "head"),
    [
        ({"BodyPartExamined": "HEAD"}, True),
        ({"StudyDescription": "CT Brain without contrast"}, True),
        ({"SeriesDescription": "t1_mprage_sag"}, True),
        ({"ProtocolName": "ORBITS"}, True),
        ({"BodyPartExamined": "CHEST", "SeriesDescription": "Thorax 5mm"}, False),
        ({"SeriesDescription": "femoral heads"}, False),
        ({}, False),
    ],
)
def test_heads_are_known_by_what_the_header_says(values: dict[str, str], head: bool) -> None:
    assert is_head(_dataset(**values)) is head


def test_heads_are_known_by_their_codes() -> None:
    region = _item(CodeValue="69536005", CodingSchemeDesignator="SCT", CodeMeaning="Head")
    assert is_head(_dataset(AnatomicRegionSequence=Sequence([region])))
    anatomy = _item(FrameAnatomySequence=Sequence([_item(AnatomicRegionSequence=Sequence([region]))]))
    assert is_head(_dataset(SharedFunctionalGroupsSequence=Sequence([anatomy])))
