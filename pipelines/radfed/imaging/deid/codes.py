"""Coded terms: those of public schemes stay, those of a hospital's own schemes become pseudonyms."""

import re
from collections import defaultdict
from functools import cache

from pydicom.dataset import Dataset

from radfed.imaging.deid.identity import code_pseudonym
from radfed.imaging.deid.words import clean_text


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


OWN_SCHEME = "99RADFED"
REMOVED = "REMOVED"

PUBLIC_SCHEMES = _listed(
    "DCM SCT SRT SNM3 99SDM UCUM LN FMA MA RADLEX UMLS NCIt ICD10 I10 ICD10CM I9C ICDO3 ITIS_TSN PUBCHEM_CID BI"
)
"""Coding schemes of PS3.16 Section 8 whose codes say nothing about who used them."""

_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_PUBLIC_VALUE = re.compile(r"[\w.+*/%{}()\[\]'-]{1,64}", re.ASCII)
_VERSION = re.compile(r"[\w.-]{1,16}", re.ASCII)


def clean_code(item: Dataset, secret: bytes, allowed: frozenset[str]) -> None:
    """Make a code (PS3.3 Table 8.8-1) safe, in place: value, scheme, version and meaning.

    The meaning of a code that PS3.16 lists becomes the one listed there; any other is cleaned.
    """
    keyword = next((word for word in _VALUES if word in item), None)
    if keyword is None:
        return
    scheme, value = str(item.get("CodingSchemeDesignator", "")), str(item[keyword].value or "")
    meaning = str(item.get("CodeMeaning", ""))
    if scheme in PUBLIC_SCHEMES and _PUBLIC_VALUE.fullmatch(value):
        listed = _meanings(scheme).get(value, ())
        known = meaning.casefold() in {one.casefold() for one in listed}
        cleaned = meaning if known else min(listed, key=len, default=None)
    else:
        scheme = OWN_SCHEME if scheme else scheme
        for word in _VALUES:
            if word in item:
                delattr(item, word)
        item.CodeValue = code_pseudonym(secret, str(item.get("CodingSchemeDesignator", "")), value)
        cleaned = None
    if "CodingSchemeDesignator" in item:
        item.CodingSchemeDesignator = scheme
    version = str(item.get("CodingSchemeVersion", ""))
    if "CodingSchemeVersion" in item and (scheme == OWN_SCHEME or not _VERSION.fullmatch(version)):
        del item.CodingSchemeVersion
    if "CodeMeaning" in item:
        item.CodeMeaning = cleaned if cleaned is not None else clean_text(meaning, allowed)[:64] or REMOVED


@cache
def _meanings(scheme: str) -> dict[str, list[str]]:
    """Code values of a scheme and their meanings, as far as PS3.16 lists them."""
    from pydicom.sr.codedict import codes

    meanings: dict[str, list[str]] = defaultdict(list)
    for code in getattr(codes, scheme).concepts.values() if scheme in codes.schemes() else ():
        meanings[code.value].append(code.meaning)
    return dict(meanings)
