import ast
import inspect
import json

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radfed.errors import DataError
from radfed.imaging.deid import residual
from radfed.imaging.deid.residual import check_residual, identifying_values, residual_hits


def _dataset(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


SOURCE = _dataset(
    PatientName="Zorvath^Quennell^Ib",
    PatientID="0012345",
    PatientBirthDate="19700131",
    StudyDate="20200229",
    AccessionNumber="A99-12",
    InstitutionName="St. Elsewhere's Infirmary",
    PatientTelephoneNumbers="0555-123456",
    DeviceSerialNumber="SN4711",
    StudyInstanceUID="1.3.6.1.4.1.99999.5",
    RequestAttributesSequence=Sequence([_dataset(RequestingPhysician="Wimbledore^Kit")]),
    Manufacturer="SIEMENS",
    StationName="SIEMENS",
    OperatorsName="Brain^T1",
)
VALUES = identifying_values(SOURCE)


def test_values_are_taken_from_every_depth_and_in_every_order() -> None:
    assert {"zorvath", "quennell", "zorvath quennell ib", "quennell zorvath", "wimbledore", "0012345"} <= VALUES
    assert {"19700131", "31 01 1970", "01 31 1970", "20200229", "1.3.6.1.4.1.99999.5", "0555 123456"} <= VALUES
    assert "st elsewhere s infirmary" in VALUES


def test_what_would_be_found_everywhere_is_left_out() -> None:
    assert not VALUES & {"ib", "siemens", "brain", "t1", "st", ""}


@pytest.mark.parametrize(
    "text",
    [
        "T1 ZORVATH",
        "quennell_zorvath.nii.gz",
        "Zorvath, Quennell",
        "id=0012345;",
        "born 31.01.1970",
        "born 1970-01-31",
        "St Elsewhere's infirmary",
        "tel 0555 123456",
        "series 1.3.6.1.4.1.99999.5 of",
        json.dumps({"name": "Wimbledore"}),
    ],
)
def test_values_are_found_in_texts_however_they_are_written(text: str) -> None:
    assert residual_hits(text, VALUES) == ("text",)
    assert residual_hits(text.encode(), VALUES) == ("bytes",)
    assert residual_hits(b"\x01\x02" + text.encode("utf-16-le") + b"\xff\xfe", VALUES) == ("bytes",)
    assert residual_hits(b"\x01" + text.encode("utf-16-be"), VALUES) == ("bytes",)


@pytest.mark.parametrize(
    "text",
    ["", "T1 AXIAL BRAIN", "100123456", "1.3.6.1.4.1.99999.51", "zorvathian", "2020-02-28", "SIEMENS syngo", "A99"],
)
def test_a_part_of_another_word_is_no_hit(text: str) -> None:
    assert residual_hits(text, VALUES) == ()
    assert residual_hits(text.encode(), VALUES) == ()


def test_escaped_letters_in_json_are_read() -> None:
    values = identifying_values(_dataset(SpecificCharacterSet="ISO_IR 192", PatientName="Müllerova^Zoë"))
    assert residual_hits(json.dumps({"note": "MÜLLEROVA"}), values) == ("text",)
    assert residual_hits("note: Müllerova".encode(), values) == ("bytes",)
    assert residual_hits("note: Müllerova".encode("latin-1"), values) == ("bytes",)


def test_hits_in_a_dataset_are_named_by_place() -> None:
    output = _dataset(SeriesDescription="T1 Zorvath", Manufacturer="SIEMENS", StudyInstanceUID="2.25.5")
    inner = _dataset(ReferencedSOPInstanceUID="1.3.6.1.4.1.99999.5", PatientName="pat-1")
    inner.add_new(0x00190010, "LO", "ACME")
    inner.add_new(0x00191001, "OB", b"\0\0name=Quennell\0")
    inner.add_new(0x00191002, "UN", "Wimbledore".encode("utf-16-le"))
    output.ReferencedImageSequence = Sequence([inner])
    assert residual_hits(output, VALUES) == (
        "SeriesDescription",
        "ReferencedSOPInstanceUID",
        "(0019,1001)",
        "(0019,1002)",
    )


def test_measured_numbers_dates_and_pixels_are_no_hits() -> None:
    output = _dataset(
        StudyDate="20200229", SliceThickness="12345", SeriesNumber="12345", ImagePositionPatient=[1, 2, 3]
    )
    output.add_new(0x7FE00010, "OB", b"Zorvath^Quennell")
    assert residual_hits(output, VALUES) == ()


def test_a_number_that_is_the_identifier_is_a_hit() -> None:
    values = identifying_values(_dataset(PatientID="4711815"))
    assert residual_hits(_dataset(SeriesNumber="4711815"), values) == ("SeriesNumber",)


def test_the_refusal_names_places_and_no_value() -> None:
    with pytest.raises(DataError, match="in SeriesDescription") as caught:
        check_residual(_dataset(SeriesDescription="T1 Zorvath"), VALUES)
    assert caught.value.reason == "residual_identifier"
    assert "zorvath" not in str(caught.value).casefold()
    check_residual(_dataset(SeriesDescription="T1"), VALUES)


def test_the_second_look_shares_no_code_with_the_first() -> None:
    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(residual)))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("radfed")
    }
    assert imported == {"radfed.errors", "radfed.imaging.dicom.header"}
