"""Sex, age band and projection from a DICOM header, as far as the site's de-identification keeps what they stand in.

All three are of closed lists, so no word of a header goes on. The age is PatientAge: de-identification empties
PatientBirthDate and moves StudyDate, so none is worked out of the two.
"""

import re
from pathlib import Path
from typing import TypedDict, get_args

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword

from radfed.dataset.layout import AgeBand, Projection, Sex
from radfed.dataset.traits import band_of, projection_of
from radfed.imaging.deid.rules import Action, action
from radfed.imaging.deid.settings import DeidSettings
from radfed.imaging.dicom.elements import Elements
from radfed.imaging.dicom.header import PYDICOM_ERRORS
from radfed.imaging.unwarned import unwarned

_KEPT = frozenset({Action.KEEP, Action.CODED, Action.AGE})
_KEYWORDS = ("PatientSex", "PatientAge", "ViewPosition")
_SEXES: dict[str, Sex] = {sex: sex for sex in get_args(Sex)}
_AGE = re.compile(r"(\d{3})([DWMY])")
_PER_YEAR = {"D": 365.2425, "W": 52.1775, "M": 12.0, "Y": 1.0}


class HeaderTraits(TypedDict):
    """What one header says, None where it says nothing of the list."""

    sex: Sex | None
    age_band: AgeBand | None
    projection: Projection | None


def header_traits(path: Path, policy: DeidSettings) -> HeaderTraits:
    """What the header of a DICOM file says of sex, age and projection.

    Args:
        path: of the file.
        policy: the site's; older patients than its ``max_age`` have a band only if that says no more than the cap.
    """
    sex, age, view = _kept_texts(path)
    return HeaderTraits(
        sex=_SEXES.get(sex.upper()), age_band=_band(age, policy.max_age), projection=projection_of(view)
    )


def _kept_texts(path: Path) -> list[str]:
    """The value of each attribute; "" if it is absent, or its tag is one that de-identification takes away."""
    tags = [int(tag_for_keyword(keyword) or 0) for keyword in _KEYWORDS]
    try:
        with unwarned():  # odd values are none of the lists
            header = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", *_KEYWORDS], force=True
            )
            elements = Elements(header)
            return [elements.text(tag) if action(tag, dictionary_VR(tag)) in _KEPT else "" for tag in tags]
    except PYDICOM_ERRORS:
        return [""] * len(_KEYWORDS)


def _band(age: str, max_age: int) -> AgeBand | None:
    """The band of an Age String (AS), such as ``045Y`` or ``010M``."""
    match = _AGE.fullmatch(age.upper())
    if match is None:
        return None
    years = int(match[1]) / _PER_YEAR[match[2]]
    capped = band_of(min(years, max_age))
    # Of those capped below the oldest band nobody may tell the band.
    return capped if years <= max_age or capped == get_args(AgeBand)[-1] else None
