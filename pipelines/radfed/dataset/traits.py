"""What tells groups of patients apart in a report: scanner vendor, sex, age band, projection.

Groups come from closed lists, so that no free text of a site gets into a report that travels. What a case does not say
is ``not recorded``.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Literal, get_args

from radfed.dataset.layout import AgeBand, Case, Projection

Trait = Literal["vendor", "sex", "age", "projection"]
TRAITS: tuple[Trait, ...] = get_args(Trait)
UNKNOWN, OTHER = "not recorded", "other"

_VENDORS: Mapping[str, str] = {
    "agfa": "Agfa", "canon": "Canon", "carestream": "Carestream", "fuji": "Fujifilm", "general electric": "GE",
    "ge ": "GE", "hitachi": "Hitachi", "hologic": "Hologic", "konica": "Konica Minolta", "kodak": "Carestream",
    "neusoft": "Neusoft", "philips": "Philips", "samsung": "Samsung", "siemens": "Siemens", "toshiba": "Canon",
    "united imaging": "United Imaging", "uih": "United Imaging",
}  # fmt: skip
_SEXES: Mapping[str, str] = {"f": "female", "female": "female", "m": "male", "male": "male"}
_PROJECTIONS: Mapping[str, Projection] = {view.lower(): view for view in get_args(Projection)} | {"lat": "LATERAL"}
_BANDS: tuple[AgeBand, ...] = get_args(AgeBand)
_BAND_STARTS = (18, 40, 60, 75)
_PER_YEAR: Mapping[str, float] = {
    "a": 1.0,
    "y": 1.0,
    "year": 1.0,
    "years": 1.0,
    "mo": 12.0,
    "wk": 52.1775,
    "d": 365.2425,
}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "sex": ("sex", "patient_sex", "gender"),
    "age": ("age", "patient_age", "age_years"),
    "projection": ("projection", "view", "view_position"),
}


def traits_of(case: Case, units: Mapping[str, str] | None = None) -> dict[Trait, str]:
    """The group that a case belongs to, by trait.

    Args:
        case: from ``cases.jsonl``; sex, age and projection are covariates of these names, else what DICOM headers said.
        units: unit of each covariate in UCUM, as the task says; an age without one is in years.
    """
    vendor = case.scanner.manufacturer if case.scanner is not None else ""
    sex, age, projection = _said(case, "sex"), _said(case, "age"), _said(case, "projection")
    return {
        "vendor": vendor_of(vendor),
        "sex": _listed(case.sex if sex is None else sex[1], _SEXES),
        "age": (case.age_band or UNKNOWN) if age is None else _band(age[1], (units or {}).get(age[0], "")),
        "projection": _listed(case.projection if projection is None else projection[1], _PROJECTIONS),
    }


def band_of(years: float) -> AgeBand:
    """The band that an age in years falls into."""
    return _BANDS[bisect_right(_BAND_STARTS, years)]


def projection_of(view: str) -> Projection | None:
    """The projection that a view means; None if it is none of the list."""
    return _PROJECTIONS.get(view.strip().lower())


def vendor_of(manufacturer: str) -> str:
    """The maker as people name it: ``SIEMENS`` and ``Siemens Healthineers`` are one."""
    text = f"{manufacturer.strip().lower()} "
    if not text.strip():
        return UNKNOWN
    return next((name for start, name in _VENDORS.items() if text.startswith(start)), OTHER)


def _said(case: Case, trait: str) -> tuple[str, float | str] | None:
    """Name and value of the first covariate that says it."""
    return next(((name, case.covariates[name]) for name in _NAMES[trait] if name in case.covariates), None)


def _listed(said: float | str | None, known: Mapping[str, str]) -> str:
    return UNKNOWN if said is None else known.get(str(said).strip().lower(), OTHER)


def _band(age: float | str, unit: str) -> str:
    if isinstance(age, str) or unit.strip("[]") not in ("", *_PER_YEAR):
        return OTHER
    return band_of(age / _PER_YEAR.get(unit.strip("[]"), 1.0))
