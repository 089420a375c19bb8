"""De-identification of a dataset by PS3.15 Annex E, in every sequence, private ones and those encoded as UN included.

The Basic Application Level Confidentiality Profile with the options Retain Longitudinal Temporal Information with
Modified Dates, Clean Descriptors, Retain Patient Characteristics (age capped) and Retain Safe Private.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radfed.errors import DataError
from radfed.imaging.deid.codes import REMOVED, clean_code
from radfed.imaging.deid.heads import is_head
from radfed.imaging.deid.identity import (
    new_uid,
    patient_key,
    patient_pseudonym,
    shift_date,
    shift_date_time,
    shift_days,
)
from radfed.imaging.deid.marks import mark
from radfed.imaging.deid.rules import NUMBERS, TEXTS, Action, action
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.deid.table import safe_private
from radfed.imaging.deid.words import allowed_words, clean_text, plain_text
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.unwarned import unwarned

MAX_DEPTH = 32

_CODED = re.compile(r"[A-Za-z0-9_ .+/-]{0,16}")
_TIME = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_ZONE = re.compile(r"[+-]\d{4}")
_AGE = re.compile(r"(\d{3})([DWMY])")
_CHARACTER_SETS = frozenset(
    {"", None, "ISO_IR 192", "GB18030", "GBK", *(f"ISO_IR {n}" for n in (6, 100, 101, 109, 110))}
)
_DUMMIES = {"AE": REMOVED, "CS": REMOVED, "PN": REMOVED, "IS": "0", "DS": "0", "US": 0}


class Deidentifier:
    """De-identifies datasets with one site's secret; equal input gives equal output.

    Args:
        secret: the site's secret, which keys pseudonyms, UIDs and the shift of dates.
        settings: what the site has decided.
    """

    def __init__(self, secret: bytes, settings: DeidSettings) -> None:
        self._secret = secret
        self._settings = settings
        self._allowed = allowed_words(settings.descriptors)

    def __call__(self, dataset: Dataset) -> Dataset:
        """A new dataset without identity; the source is left as it is. Pixels are the same bytes.

        Raises:
            DataError: ``unreadable``, if sequences are nested deeper than any object of the standard.
        """
        with unwarned():  # pydicom warns about values that go anyway
            key = patient_key(_text(dataset, "PatientID"), _text(dataset, "StudyInstanceUID"))
            clean = _Patient(self._secret, key, self._settings, self._allowed).clean(dataset)
            mark(clean, patient_pseudonym(self._secret, key), is_head(dataset))
        return clean


class _Patient:
    """Cleans the datasets of one patient."""

    def __init__(self, secret: bytes, key: str, settings: DeidSettings, allowed: frozenset[str]) -> None:
        self._secret = secret
        self._key = key
        self._allowed = allowed
        self._max_age = settings.max_age
        self._days = shift_days(secret, key, settings.max_shift_days)

    def clean(self, source: Dataset, depth: int = 0) -> Dataset:
        """A copy of a dataset or an item of a sequence, cleaned."""
        if depth > MAX_DEPTH:
            raise DataError("unreadable", f"sequences are nested more than {MAX_DEPTH} deep")
        target = Dataset()
        creators = _creators(source)
        for tag in source.keys():  # noqa: SIM118 - iterating over a Dataset decodes every value
            if tag.is_private:
                cleaned = self._private(source, tag, creators, depth)
            else:
                cleaned = self._standard(source, tag, depth)
            if cleaned is not None:
                target.add(cleaned)
        for block in {tag.group << 16 | tag.element >> 8 for tag in target.keys() if tag.is_private}:  # noqa: SIM118
            target.add(DataElement(block, "LO", creators[block]))
        clean_code(target, self._secret, self._allowed)
        return target

    def _standard(self, source: Dataset, tag: BaseTag, depth: int) -> DataElement | None:
        vr = _written_vr(source, tag)
        if vr is not None and action(int(tag), vr) is Action.REMOVE:
            return None  # undecoded
        element = _decoded(source, tag)
        return element and self._apply(action(int(tag), element.VR), element, source, depth)

    def _private(self, source: Dataset, tag: BaseTag, creators: dict[int, str], depth: int) -> DataElement | None:
        """A private element, if the standard lists it as safe and its value is of the kind listed."""
        creator = creators.get(tag.group << 16 | tag.element >> 8, "")
        vr = safe_private().get((creator, tag.group, tag.element & 0xFF))
        if vr is None or tag.is_private_creator:
            return None
        element = _decoded(source, tag)
        if element is None or _kind(element.VR) != _kind(vr):
            return None
        return self._apply(_action_of_safe(vr), element, source, depth)

    def _apply(self, chosen: Action, element: DataElement, source: Dataset, depth: int) -> DataElement | None:
        """The element as an action leaves it; None if it goes."""
        match chosen:
            case Action.REMOVE:
                return None
            case Action.KEEP | Action.CODE:
                return None if element.VR in ("DS", "IS") and not _is_numeric(element) else element
            case Action.EMPTY:
                return _with(element, Sequence() if element.VR == "SQ" else None)
            case Action.DUMMY:
                return self._dummy(element)
            case Action.RECURSE:
                items = element.value if element.VR == "SQ" else ()
                return _with(element, Sequence([self.clean(item, depth + 1) for item in items]))
            case Action.PSEUDONYM:
                return _with(element, self._pseudonym(source, depth))
            case Action.AGE:
                return _or_none(_each(element, self._age))
            case Action.CHARACTER_SET:
                # All texts that are kept are ASCII, which every set but some of those with code extensions holds.
                return element if str(element.value or "") in _CHARACTER_SETS else _with(element, "ISO_IR 192")
            case Action.UID:
                return _each(element, lambda text: new_uid(self._secret, text))
            case Action.DATE:
                return _each(element, self._moved(element.VR))
            case Action.CODED:
                return _each(element, lambda text: text if _CODED.fullmatch(text) else "")
            case Action.PLAIN:
                return _each(element, plain_text)
            case _:
                return self._described(chosen, element, source)

    def _described(self, chosen: Action, element: DataElement, source: Dataset) -> DataElement | None:
        """A descriptor with its allowed words; without any, removed, empty or a dummy."""
        if element.VR not in TEXTS | {"CS"}:
            return None
        cleaned = _each(element, lambda text: clean_text(text, self._allowed))
        if cleaned.value or not element.value:
            return None if chosen is Action.CLEAN_OR_REMOVE and not cleaned.value else cleaned
        match chosen:
            case Action.CLEAN_OR_REMOVE:
                return None
            case Action.CLEAN_OR_EMPTY:
                return _with(element, None)
            case _:
                return _with(element, _structure_name(source, element.keyword) or REMOVED)

    def _dummy(self, element: DataElement) -> DataElement | None:
        if element.VR == "SQ":
            return None
        if not element.value:
            return _with(element, None)
        if element.VR in TEXTS:
            return _with(element, REMOVED)
        dummy = _DUMMIES.get(element.VR)
        return None if dummy is None else _with(element, dummy)

    def _pseudonym(self, source: Dataset, depth: int) -> str:
        """The patient's; in a sequence that speaks of another patient, that one's."""
        other = _text(source, "PatientID").strip() if depth else ""
        return patient_pseudonym(self._secret, other or self._key)

    def _age(self, text: str) -> str:
        match = _AGE.fullmatch(text)
        if match is None:
            return ""
        too_old = match[2] == "Y" and int(match[1]) > self._max_age
        return f"{self._max_age:03}Y" if too_old else text

    def _moved(self, vr: str) -> Callable[[str], str]:
        match vr:
            case "DA":
                return lambda text: shift_date(text, self._days)
            case "DT":
                return lambda text: shift_date_time(text, self._days)
            case "TM":
                return lambda text: text if _TIME.fullmatch(text) else ""
            case _:
                return lambda text: text if _ZONE.fullmatch(text) else ""


def _kind(vr: str) -> str:
    """Value representations of one kind stand for each other: writers do not always take the listed one."""
    return "number" if vr in NUMBERS else "text" if vr in TEXTS else vr


def _action_of_safe(vr: str) -> Action:
    """What is done with a private attribute that is known to be safe. Text is cleaned all the same, opaque bytes go."""
    match _kind(vr):
        case "number":
            return Action.KEEP
        case "text":
            return Action.CLEAN_OR_REMOVE
        case "CS":
            return Action.CODED
        case "UI":
            return Action.UID
        case "SQ":
            return Action.RECURSE
        case _:
            return Action.REMOVE


def _structure_name(source: Dataset, keyword: str) -> str:
    """A name for a structure that had no allowed word: its number, so that structures stay apart."""
    numbered = {"SegmentLabel": ("Segment", "SegmentNumber"), "ROIName": ("ROI", "ROINumber")}
    if keyword not in numbered:
        return ""
    name, number = numbered[keyword]
    return f"{name} {_text(source, number)}".strip()


def _creators(source: Dataset) -> dict[int, str]:
    """The private creators of a dataset, by tag."""
    return {int(tag): _text(source, tag) for tag in source.keys() if tag.is_private_creator}  # noqa: SIM118


def _written_vr(source: Dataset, tag: BaseTag) -> str | None:
    """A standard element's value representation before it is decoded; None if that is only known afterwards."""
    vr = source.get_item(tag).VR
    if vr is None:  # implicit VR
        vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "OB"
    return None if vr == "UN" or " or " in vr else str(vr)


def _decoded(source: Dataset, tag: BaseTag) -> DataElement | None:
    """An element with its value decoded; None if that is impossible: what cannot be read cannot be kept."""
    try:
        return source[tag]
    except PYDICOM_ERRORS:
        return None


def _is_numeric(element: DataElement) -> bool:
    """Whether a number written as text is one; pydicom hands out the text of those that are none."""
    value = element.value
    values = value if isinstance(value, MultiValue | list | tuple) else [value]
    return all(one is None or one == "" or isinstance(one, int | float | Decimal) for one in values)


def _text(source: Dataset, name: str | BaseTag) -> str:
    """A value as text; "" if absent or broken."""
    try:
        value = source[name].value if name in source else ""
    except PYDICOM_ERRORS:
        return ""
    return "" if value is None else str(value).strip(" \0")


def _with(element: DataElement, value: Any) -> DataElement:  # noqa: ANN401 - a DICOM value can be many things
    """The same element with another value."""
    return DataElement(element.tag, element.VR, value)


def _each(element: DataElement, change: Callable[[str], str]) -> DataElement:
    """The same element with each of its values changed; () and empty texts become an empty value."""
    value = element.value
    values = value if isinstance(value, MultiValue | list | tuple) else [value] if value is not None else []
    changed = [change(str(one).strip(" \0")) for one in values]
    if not any(changed):
        return _with(element, None)
    return _with(element, changed[0] if len(changed) == 1 else changed)


def _or_none(element: DataElement) -> DataElement | None:
    return element if element.value else None
