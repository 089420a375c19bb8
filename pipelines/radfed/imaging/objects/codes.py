"""Coded terms: of the task, of DICOM objects, and our own for labels that have none."""

from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as Term

from radfed.task import Code, Label

if TYPE_CHECKING:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

PRIVATE_SCHEME = "99RADFED"
"""Designators from 99 on are private (PS3.16 8.2)."""

_MEANING_LENGTH = 64
_VALUE_LENGTH = 16


def same_term(one: Code, other: Code) -> bool:
    """Whether two codes mean the same: SNOMED's old SRT codes equal their SCT successors (PS3.16 annex L)."""
    return bool(_term(one) == _term(other))


def label_term(label: Label) -> Term:
    """The coded term of a label; without one, its value in the private scheme."""
    if label.code is not None:
        return _term(label.code)
    return Term(str(label.value), PRIVATE_SCHEME, label.name[:_MEANING_LENGTH])


def category_term(label: Label) -> Term:
    """The category of what a label shows (CID 7150), from the DICOM context groups that its code belongs to."""
    if label.code is not None:
        term = _term(label.code)
        if any(term == getattr(codes.CID7194, keyword) for keyword in codes.CID7194.dir()):
            return codes.CID7150.MorphologicallyAbnormalStructure
        if any(term == getattr(codes.CID7166, keyword) for keyword in codes.CID7166.dir()):
            return codes.CID7150.Tissue
    return codes.CID7150.AnatomicalStructure


def private_schemes(labels: tuple[Label, ...]) -> "list[CodingSchemeIdentificationItem]":
    """What names the private scheme in an object that uses it."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    if all(label.code is not None for label in labels):
        return []
    return [CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="radfed label values of a task")]


def read_code(item: Dataset) -> Code | None:
    """The code of an item of a code sequence, None if it is not whole."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    scheme = item.get("CodingSchemeDesignator")
    if not value or not scheme:
        return None
    return Code(scheme=str(scheme), value=str(value), meaning=str(item.get("CodeMeaning") or value))


def _term(code: Code) -> Term:
    return Term(code.value, code.scheme, code.meaning[:_MEANING_LENGTH])
