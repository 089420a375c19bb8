import pytest

from radfed.dataset.layout import Case, Scanner
from radfed.dataset.traits import traits_of, vendor_of


def case(manufacturer: str = "", **covariates: float | str) -> Case:
    scanner = Scanner(manufacturer=manufacturer) if manufacturer else None
    return Case(
        id="case-0123456789ab", patient="pat-0123456789ab", split="test", digest="0" * 64, scanner=scanner,
        covariates=covariates, outcome="yes", channels=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("manufacturer", "vendor"),
    [
        ("SIEMENS", "Siemens"), ("Siemens Healthineers", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"), ("GE", "GE"),
        ("Philips Medical Systems", "Philips"), ("TOSHIBA", "Canon"), (" ", "not recorded"), ("Gerät Huber", "other"),
    ],
)  # fmt: skip
def test_makers_come_from_a_closed_list(manufacturer: str, vendor: str) -> None:
    assert vendor_of(manufacturer) == vendor


@pytest.mark.parametrize(
    ("age", "unit", "band"),
    [
        (17.9, "a", "under 18"), (18, "a", "18 to 39"), (40, "", "40 to 59"), (74.9, "a", "60 to 74"),
        (75, "a", "75 and over"), (30, "mo", "under 18"), (14_610, "d", "40 to 59"), (40, "kg", "other"),
    ],
)  # fmt: skip
def test_ages_fall_into_bands(age: float, unit: str, band: str) -> None:
    assert traits_of(case(age=age), {"age": unit})["age"] == band


def test_what_a_case_says() -> None:
    found = traits_of(case("Canon", sex="F", projection="pa"))
    assert found == {"vendor": "Canon", "sex": "female", "age": "not recorded", "projection": "PA"}
    assert traits_of(case(patient_sex="X", view_position="strange"))["sex"] == "other"
    assert traits_of(case(view="odd"))["projection"] == "other"


def test_headers_speak_where_the_contract_does_not() -> None:
    header = {"sex": "M", "age_band": "60 to 74", "projection": "AP"}
    read = case().model_copy(update=header)
    assert traits_of(read) == {"vendor": "not recorded", "sex": "male", "age": "60 to 74", "projection": "AP"}
    both = case(sex="F", age=30, view="PA").model_copy(update=header)
    assert traits_of(both) == {"vendor": "not recorded", "sex": "female", "age": "18 to 39", "projection": "PA"}
    assert traits_of(case().model_copy(update={"sex": "O"}))["sex"] == "other"


def test_a_line_written_before_there_were_such_fields_is_read() -> None:
    fields = {"sex", "age_band", "projection"}
    old = Case.model_validate_json(case().model_dump_json(exclude=fields))
    assert [getattr(old, name) for name in fields] == [None, None, None]
