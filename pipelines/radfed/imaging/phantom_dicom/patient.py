"""Patients who never lived, with every kind of identifying value that a DICOM header holds."""

from dataclasses import dataclass

import numpy as np

_FAMILIES = ("Quillfeather", "Oxenwhistle", "Thistlewick", "Marrowgate", "Brömsewacker", "Zwetschkenbaum", "Fennimoor")
_GIVEN = {
    "F": ("Odalys", "Perpetua", "Wilhelmina", "Zuleika", "Ermengarde"),
    "M": ("Ignatz", "Tobiah", "Barnabus", "Leopoldus", "Evaristo"),
}
_PHYSICIANS = ("Mumblecrust^Ottoline", "Hackenschmidt^Ulrich", "Pennyfarthing^Isolde", "Grimblehawk^Cuthbert")
_OPERATORS = ("Snodgrass^Petronella", "Wobbleton^Archibald", "Dinglefritz^Mathilde")
_STREETS = ("Nowhere Lane", "Phantom Crescent", "Makebelieve Road", "Invented Alley")
_INSTITUTIONS = ("Phantasma General Hospital", "Clinic of Nonesuch", "Infirmary at Imaginary Falls")


@dataclass(frozen=True, slots=True)
class FakePatient:
    """A made-up patient and one made-up visit. Dates are ``YYYYMMDD``, names ``Family^Given``."""

    name: str
    id: str
    other_id: str
    birth_date: str
    sex: str
    age: str
    address: str
    phone: str
    study_date: str
    study_time: str
    study_id: str
    accession: str
    physician: str
    operator: str
    institution: str
    station: str
    comment: str

    @property
    def family(self) -> str:
        """The family name."""
        return self.name.split("^")[0]

    @property
    def given(self) -> str:
        """The given name."""
        return self.name.split("^")[1]


def fake_patient(rng: np.random.Generator) -> FakePatient:
    """Draw a patient; equal generators give equal patients."""
    sex = str(rng.choice(["F", "M"]))
    family, given = str(rng.choice(_FAMILIES)), str(rng.choice(_GIVEN[sex]))
    birth_year, study_year = int(rng.integers(1931, 1990)), int(rng.integers(2011, 2024))
    patient_id = f"ZZ{_digits(rng, 7)}"
    return FakePatient(
        name=f"{family}^{given}",
        id=patient_id,
        other_id=f"INS{_digits(rng, 8)}",
        birth_date=f"{birth_year}{_month_day(rng)}",
        sex=sex,
        age=f"{study_year - birth_year - 1:03d}Y",
        address=f"{int(rng.integers(100, 999))} {rng.choice(_STREETS)}, Nonesuch",
        phone=f"+00 555 {_digits(rng, 7)}",
        study_date=f"{study_year}{_month_day(rng)}",
        study_time=f"{int(rng.integers(7, 19)):02d}{int(rng.integers(0, 60)):02d}{int(rng.integers(0, 60)):02d}",
        study_id=f"ST{_digits(rng, 6)}",
        accession=f"AC{_digits(rng, 9)}",
        physician=str(rng.choice(_PHYSICIANS)),
        operator=str(rng.choice(_OPERATORS)),
        institution=str(rng.choice(_INSTITUTIONS)),
        station=f"SCAN{_digits(rng, 5)}",
        comment=f"Pt {given} {family} MRN {patient_id} seen by Dr Featherstonehaugh",
    )


def planted_values(patient: FakePatient) -> frozenset[str]:
    """Every identifying string that a phantom of this patient may hold, to be searched for in outputs."""
    values = {
        *(patient.name, patient.id, patient.other_id, patient.birth_date, patient.address, patient.phone),
        *(patient.study_date, patient.study_id, patient.accession, patient.physician, patient.operator),
        *(patient.institution, patient.station, patient.comment, "Featherstonehaugh"),
    }
    for name in (patient.name, patient.physician, patient.operator):
        values.update(name.split("^"))
    return frozenset(values)


def _digits(rng: np.random.Generator, count: int) -> str:
    return "".join(str(digit) for digit in rng.integers(0, 10, size=count))


def _month_day(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}"
