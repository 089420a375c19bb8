import pytest

from radfed.imaging.pacs.listing import ListedSeries, matches, number_of_instances, queries


def test_alternatives_become_queries_of_their_own() -> None:
    filters = (("Modality", "CT"), ("Modality", "MR"), ("SeriesNumber", "1"), ("SeriesNumber", "2"), ("StudyID", "9"))
    level = ("Modality", "SeriesNumber")
    assert list(queries(filters, level)) == [
        {"Modality": "CT", "SeriesNumber": "1"},
        {"Modality": "CT", "SeriesNumber": "2"},
        {"Modality": "MR", "SeriesNumber": "1"},
        {"Modality": "MR", "SeriesNumber": "2"},
    ]
    assert list(queries(filters, ("PatientID",))) == [{}]


@pytest.mark.parametrize(
    ("values", "wanted", "expected"),
    [
        (("P1",), "P1", True),
        (("P10",), "P1", False),
        (("P10",), "P1*", True),
        (("P10",), "P1?", True),
        (("P1",), "P1?", False),
        (("p1 ",), "P1", True),
        (("a.b",), "a?b", True),
        (("axb",), "a.b", False),
        ((), "P1", True),
        (("Müller",), "MULLER", True),
    ],
)
def test_single_values_and_wildcards(values: tuple[str, ...], wanted: str, expected: bool) -> None:
    assert matches({"PatientID": values}, {"PatientID": wanted}) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("20240229", True),
        ("20240228", False),
        ("20240101-", True),
        ("20240301-", False),
        ("-20240229", True),
        ("-20240228", False),
        ("20240229-20240229", True),
    ],
)
def test_dates(wanted: str, expected: bool) -> None:
    assert matches({"StudyDate": ("20240229",)}, {"StudyDate": wanted}) is expected


def test_one_of_several_modalities_is_enough() -> None:
    assert matches({"ModalitiesInStudy": ("CT", "SEG")}, {"ModalitiesInStudy": "SEG"})
    assert not matches({"ModalitiesInStudy": ("CT", "SEG")}, {"ModalitiesInStudy": "MR"})


def test_every_filter_counts() -> None:
    answer = {"PatientID": ("P1",), "StudyDate": ("20240229",)}
    assert not matches(answer, {"PatientID": "P1", "StudyDate": "20230101"})


def test_a_series_counts_its_instances_itself_where_they_are_listed() -> None:
    answers = [{"SOPInstanceUID": (uid,), "SOPClassUID": ("1.1",)} for uid in ("9", "5", "9")]
    series = ListedSeries.of("1", "2", 7, answers)
    assert (series.instances, series.count, series.sop_classes) == (("5", "9"), 2, frozenset({"1.1"}))
    assert ListedSeries.of("1", "2", 7, []) == ListedSeries("1", "2", None, 7)
    assert number_of_instances({"NumberOfSeriesRelatedInstances": (" 12 ",)}) == 12
    assert number_of_instances({"NumberOfSeriesRelatedInstances": ("many",)}) is None
    assert number_of_instances({}) is None
