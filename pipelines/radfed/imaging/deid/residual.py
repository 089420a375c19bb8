"""The second look: are identifying values of the source still somewhere in what came out?

Nothing is shared with the engine: which attributes identify, how their values are taken apart, and how an output is
searched are all decided here, so that a mistake there is not repeated here.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib.resources import files

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from radfed.errors import DataError
from radfed.imaging.dicom.header import PYDICOM_ERRORS


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


_PERSONS = _listed(
    """
    PatientName OtherPatientNames PatientBirthName PatientMotherBirthName ReferringPhysicianName PhysiciansOfRecord
    PerformingPhysicianName NameOfPhysiciansReadingStudy OperatorsName RequestingPhysician ResponsiblePerson
    ScheduledPerformingPhysicianName ConsultingPhysicianName ContentCreatorName VerifyingObserverName PersonName
    ROIInterpreter ReviewerName OrderEnteredBy NamesOfIntendedRecipientsOfResults
    """
)
_NUMBERS = _listed(
    """
    PatientID OtherPatientIDs AccessionNumber StudyID AdmissionID ServiceEpisodeID RequestedProcedureID
    ScheduledProcedureStepID PerformedProcedureStepID PlacerOrderNumberImagingServiceRequest MilitaryRank
    FillerOrderNumberImagingServiceRequest MedicalRecordLocator PatientInsurancePlanCodeSequence
    ClinicalTrialSubjectID ClinicalTrialSubjectReadingID DeviceSerialNumber DetectorID PlateID CassetteID GantryID
    StationName PerformedStationName ScheduledStationName IssuerOfPatientID
    """
)
_PHRASES = _listed(
    """
    InstitutionName InstitutionAddress InstitutionalDepartmentName PatientAddress PatientTelephoneNumbers
    PatientTelecomInformation ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers RegionOfResidence
    CountryOfResidence PatientReligiousPreference CurrentPatientLocation PatientInstitutionResidence
    ResponsibleOrganization ClinicalTrialSiteName ClinicalTrialSponsorName ClinicalTrialProtocolName
    ClinicalTrialCoordinatingCenterName PersonAddress PersonTelephoneNumbers OrderCallbackPhoneNumber
    """
)
_DATES = _listed("PatientBirthDate StudyDate SeriesDate AcquisitionDate ContentDate")
_UIDS = _listed("StudyInstanceUID SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID DeviceUID")

_TEXTUAL = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_NUMERIC = frozenset({"DS", "IS"})
_OPAQUE = frozenset({"OB", "OW", "UN", "OD", "OF", "OL", "OV"})
_PIXELS = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})

_SEPARATORS = re.compile(r"[\W_]+")
_PRINTABLE = re.compile(rb"[\x20-\x7e\xa0-\xff]{3,}")
_WIDE = {  # UTF-16, and where its letters begin
    0: re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00){3,}"),
    1: re.compile(rb"(?:\x00[\x20-\x7e\xa0-\xff]){3,}"),
}
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")
_MAX_DEPTH = 40
_STANDARD = "1.2.840.10008."  # the standard's own: an atlas as frame of reference
_SHORTEST = {"person": 3, "number": 4, "digits": 5, "phrase": 4}
_ANONYMOUS = _listed("anonymous anonymized anonymised anonym removed none unknown patient test null default")


def identifying_values(dataset: Dataset) -> frozenset[str]:
    """What identifies the patient, the staff or the hospital in a source, ready to be searched for.

    Names as a whole, in both orders, and by part; identifiers; addresses, telephone numbers and institutions as a
    whole; dates of birth and of the study as they are written in texts; UIDs. Too short or too common parts are left
    out: they would be found everywhere.
    """
    harmless = {_normal(_get(dataset, keyword)) for keyword in ("Manufacturer", "ManufacturerModelName", "Modality")}
    found = {value for element in _elements(dataset, _identifies) for value in _values(element)}
    return frozenset(value for value in found if value and value not in harmless | _ANONYMOUS)


def residual_hits(target: Dataset | bytes | str, values: frozenset[str]) -> tuple[str, ...]:
    """Where identifying values of a source were found: keywords or tags of a dataset, "bytes" or "text". () if nowhere.

    Values are found in any case, with any separators, and in bytes also as UTF-16. Whole words are compared, so that a
    number in a longer one is no hit. Pixels are not searched.
    """
    if isinstance(target, bytes):
        return ("bytes",) if _in_bytes(target, values) else ()
    if isinstance(target, str):
        return ("text",) if _in_text(target, values) else ()
    places = [_place(element) for element in _elements(target) if _in_element(element, values)]
    return tuple(dict.fromkeys(places))


def check_residual(target: Dataset | bytes | str, values: frozenset[str]) -> None:
    """Refuse an output in which an identifying value of the source stands.

    Raises:
        DataError: ``residual_identifier``; it names places, never values.
    """
    places = residual_hits(target, values)
    if places:
        raise DataError(
            "residual_identifier",
            f"an identifying value of the source stands in the output, in {', '.join(places[:5])}; "
            "it was not written. Is one of the site's descriptors a name?",
        )


def _values(element: DataElement) -> Iterator[str]:
    """What to search for because of one element of a source."""
    keyword = element.keyword
    for text in _strings(element):
        if keyword in _PERSONS or element.VR == "PN":
            yield from _person(text)
        elif keyword in _NUMBERS:
            yield from _number(text)
        elif keyword in _PHRASES:
            normal = _normal(text)
            if len(normal) >= _SHORTEST["phrase"] and not _is_common(normal):
                yield normal
        elif keyword in _DATES:
            yield from _date(text)
        elif keyword in _UIDS and _UID.fullmatch(text.strip()) and not text.startswith(_STANDARD):
            yield text.strip()


def _person(text: str) -> Iterator[str]:
    """A name in both orders, and those of its parts that can be told from common words."""
    for group in text.split("="):
        parts = [part for part in _normal(group).split(" ") if part]
        if len(parts) > 1:
            yield " ".join(parts)
            yield " ".join(reversed(parts))
            yield f"{parts[1]} {parts[0]}"
        for part in parts:
            if len(part) >= _SHORTEST["person"] and not _is_common(part) and not part.isdigit():
                yield part


def _number(text: str) -> Iterator[str]:
    normal = _normal(text)
    shortest = _SHORTEST["digits"] if normal.isdigit() else _SHORTEST["number"]
    if len(normal) >= shortest and not _is_common(normal):
        yield normal


def _date(text: str) -> Iterator[str]:
    """A date as it is written in texts: 19700131, 1970-01-31, 31.01.1970, 01/31/1970."""
    digits = re.sub(r"\D", "", text)
    if len(digits) == 8:
        year, month, day = digits[:4], digits[4:6], digits[6:]
        yield from (digits, f"{year} {month} {day}", f"{day} {month} {year}", f"{month} {day} {year}")


def _in_element(element: DataElement, values: frozenset[str]) -> bool:
    if element.keyword in _PIXELS:
        return False
    if element.VR == "UI":
        return any(text.strip() in values for text in _strings(element))
    if element.VR in _NUMERIC:
        # A measured number may hold anyone's digits; only a value that is the identifier counts.
        return any(text.strip() in values and len(text.strip()) > 5 for text in _strings(element))
    if element.VR in _TEXTUAL:
        return any(_in_text(text, values) for text in _strings(element))
    if element.VR in _OPAQUE and isinstance(element.value, bytes):
        return _in_bytes(element.value, values)
    return False


def _in_text(text: str, values: frozenset[str]) -> bool:
    if "\\u" in text:  # JSON
        text += " " + _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    haystack = f" {_normal(text)} "
    if haystack.isspace():
        return False
    words, uids = _apart(values)
    return any(word in haystack for word in words) or not uids.isdisjoint(m.group() for m in _UID.finditer(text))


@lru_cache(maxsize=64)
def _apart(values: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Words and phrases between spaces, and UIDs."""
    uids = frozenset(value for value in values if _UID.fullmatch(value))
    return tuple(f" {value} " for value in sorted(values - uids)), uids


def _in_bytes(data: bytes, values: frozenset[str]) -> bool:
    runs = [run.decode("latin-1") for run in _PRINTABLE.findall(data)]
    for start, wide in _WIDE.items():
        runs += [run[start::2].decode("latin-1") for run in wide.findall(data)]
    if any(byte > 0x7F for run in _PRINTABLE.findall(data) for byte in run):
        runs.append(data.decode("utf-8", errors="replace"))
    return _in_text("\n".join(runs), values)


def _elements(
    dataset: Dataset, wanted: Callable[[BaseTag, str | None], bool] = lambda tag, vr: True, depth: int = 0
) -> Iterator[DataElement]:
    """Every wanted element that can be decoded, in every sequence."""
    if depth > _MAX_DEPTH:
        return
    for tag in dataset.keys():  # noqa: SIM118 - iterating over a Dataset stops at the first broken value
        vr = dataset.get_item(tag).VR
        if vr is None and not tag.is_private:  # implicit VR
            vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "OB"
        if vr not in (None, "SQ", "UN") and not wanted(tag, vr):
            continue
        try:
            element = dataset[tag]
            items = element.value if element.VR == "SQ" else ()
        except PYDICOM_ERRORS:
            continue
        if element.VR == "SQ":
            for item in items:
                yield from _elements(item, wanted, depth + 1)
        else:
            yield element


def _identifies(tag: BaseTag, vr: str | None) -> bool:
    """Whether an element can hold an identity; the others need not be decoded."""
    return vr == "PN" or int(tag) in _identifying_tags()


@cache
def _identifying_tags() -> frozenset[int]:
    tags = (tag_for_keyword(keyword) for keyword in _PERSONS | _NUMBERS | _PHRASES | _DATES | _UIDS)
    return frozenset(tag for tag in tags if tag is not None)


def _strings(element: DataElement) -> Iterator[str]:
    """Every value of an element as text, as it was written."""
    value = element.value
    if value is None or isinstance(value, bytes):
        return
    for one in value if isinstance(value, MultiValue | list | tuple) else (value,):
        # Parsed numbers remember what stood in the file; a person's name is iterable, and still one value.
        yield str(one.original_string) if element.VR in _NUMERIC and hasattr(one, "original_string") else str(one)


def _get(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword, "") or "")
    except PYDICOM_ERRORS:
        return ""


def _place(element: DataElement) -> str:
    return element.keyword if element.keyword and not element.tag.is_private else str(element.tag)


def _normal(text: str) -> str:
    """Lower case, words parted by single spaces."""
    return _SEPARATORS.sub(" ", text.casefold()).strip()


def _is_common(text: str) -> bool:
    """Whether a text is nothing but words that any description of an image may hold."""
    return all(word in _common_words() or (word.isdigit() and len(word) < 4) for word in text.split(" "))


@cache
def _common_words() -> frozenset[str]:
    lines = files(__package__).joinpath("vocabulary.txt").read_text(encoding="utf-8").splitlines()
    return _ANONYMOUS | {word for line in lines if not line.startswith("#") for word in line.split()}
