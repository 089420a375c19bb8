"""Identifying values planted where they are found in real archives, and easily forgotten."""

import struct
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from pydicom import Dataset
from pydicom import Sequence as Items

from radfed.imaging.phantom_dicom.header import make_uid, one
from radfed.imaging.phantom_dicom.patient import FakePatient
from radfed.imaging.phantom_dicom.text import text_mask
from radfed.imaging.phantom_dicom.vendors import csa_header

IdentifierFault = Literal[
    "nested_phi", "private_phi", "overlay_phi", "description_phi", "meta_phi", "filename_phi", "burned_in",
    "unflagged_text",
]  # fmt: skip
IDENTIFIER_FAULTS: frozenset[IdentifierFault] = frozenset(get_args(IdentifierFault))


def plant(dataset: Dataset, patient: FakePatient, faults: frozenset[str]) -> None:
    """Plant identifiers in one data set, in place; drawn text and file names are made elsewhere."""
    for fault, planter in _PLANTERS.items():
        if fault in faults:
            planter(dataset, patient)


def _nested(dataset: Dataset, patient: FakePatient) -> None:
    """Sequences of the standard, down to four levels."""
    dataset.RequestAttributesSequence = one(
        RequestedProcedureID=patient.accession,
        RequestedProcedureDescription=f"MR abdomen of {patient.family}",
        ScheduledProcedureStepID=patient.study_id,
        ScheduledProcedureStepDescription=f"For {patient.physician}",
        ReasonForTheRequestedProcedure=f"{patient.given} says so",
    )
    dataset.OtherPatientIDsSequence = one(
        PatientID=patient.other_id, IssuerOfPatientID=patient.institution, TypeOfPatientID="TEXT"
    )
    dataset.ReferencedPatientSequence = one(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.1.1", ReferencedSOPInstanceUID=make_uid("patient", patient.id)
    )
    person = one(CodeValue=patient.accession, CodingSchemeDesignator="99PHANTOM", CodeMeaning=patient.physician)
    dataset.ReferringPhysicianIdentificationSequence = one(
        PersonIdentificationCodeSequence=person,
        PersonAddress=patient.address,
        PersonTelephoneNumbers=patient.phone,
        InstitutionName=patient.institution,
    )
    before = one(PatientName=patient.name, PatientID=patient.id, PatientBirthDate=patient.birth_date)
    dataset.OriginalAttributesSequence = one(
        SourceOfPreviousValues=patient.institution,
        AttributeModificationDateTime=f"{patient.study_date}{patient.study_time}",
        ModifyingSystem=patient.station,
        ReasonForTheAttributeModification="CORRECT",
        ModifiedAttributesSequence=before,
    )
    deep = one(OtherPatientNames=patient.name, PatientAddress=patient.address)
    dataset.ReferencedStudySequence = one(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=make_uid("referenced", patient.id),
        PurposeOfReferenceCodeSequence=one(
            CodeValue="113014",
            CodingSchemeDesignator="DCM",
            CodeMeaning=f"Study of {patient.family}",
            RequestAttributesSequence=one(ReferencedPatientSequence=deep),
        ),
    )


def _private(dataset: Dataset, patient: FakePatient) -> None:
    """Private elements: strings, a nested sequence, unknown representation, a vendor's block, and one nobody owns."""
    block = dataset.private_block(0x0011, "PHANTOM WORKLIST", create=True)
    block.add_new(0x01, "PN", patient.name)
    block.add_new(0x02, "LO", patient.id)
    block.add_new(0x03, "DA", patient.birth_date)
    block.add_new(0x04, "ST", patient.comment)
    inner = Dataset()
    nested = inner.private_block(0x0011, "PHANTOM WORKLIST", create=True)
    nested.add_new(0x20, "LT", f"{patient.address} {patient.phone}")
    inner.PatientName = patient.name
    block.add_new(0x10, "SQ", Items([inner]))
    block.add_new(0x11, "UN", _even(patient.name.encode()))
    block.add_new(0x12, "UN", _implicit_sequence(patient))
    block.add_new(0x13, "OB", _even(b"\x00\x01" + patient.other_id.encode() + b"\x00"))
    vendor = dataset.private_block(0x0029, "PHANTOM CSA HEADER", create=True)
    vendor.add_new(0x10, "OB", csa_header({"PatientsName": ("PN", patient.name), "PatientID": ("LO", patient.id)}))
    # No private creator reserves this one, as in files that a careless gateway has passed on.
    dataset.add_new(0x00131001, "LO", f"{patient.given} {patient.family}")
    # A creator that is itself an identifier.
    dataset.private_block(0x0015, f"{patient.family} {patient.id}", create=True).add_new(0x01, "LO", patient.accession)


def _implicit_sequence(patient: FakePatient) -> bytes:
    """The value of a sequence of unknown representation: one item in Implicit VR Little Endian (PS3.5 6.2.2)."""
    name = _even(patient.name.encode(), b" ")
    element = struct.pack("<HHI", 0x0010, 0x0010, len(name)) + name
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(element)) + element


def _overlay(dataset: Dataset, patient: FakePatient) -> None:
    """An overlay with the name drawn in it (60xx), a curve (50xx) and an icon."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    strokes = text_mask(rows, columns, (patient.family, patient.id))
    dataset.add_new(0x60000010, "US", rows)
    dataset.add_new(0x60000011, "US", columns)
    dataset.add_new(0x60000022, "LO", f"Drawn for {patient.given} {patient.family}")
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60001500, "LO", patient.family)
    dataset.add_new(0x60003000, "OW", _even(np.packbits(strokes, bitorder="little").tobytes()))
    dataset.add_new(0x50000005, "US", 2)
    dataset.add_new(0x50000010, "US", 2)
    dataset.add_new(0x50000020, "CS", "ECG")
    dataset.add_new(0x50000022, "LO", f"Curve of {patient.family}")
    dataset.add_new(0x50000103, "US", 0)
    dataset.add_new(0x50003000, "OW", np.arange(4, dtype="<u2").tobytes())
    icon = text_mask(64, 64, (patient.family,)).astype(np.uint8) * 255
    dataset.IconImageSequence = one(
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", Rows=64, Columns=64, BitsAllocated=8,
        BitsStored=8, HighBit=7, PixelRepresentation=0,
    )  # fmt: skip
    dataset.IconImageSequence[0].add_new("PixelData", "OB", icon.tobytes())


def _descriptions(dataset: Dataset, patient: FakePatient) -> None:
    """Descriptions and comments that people type."""
    said = f"{patient.given} {patient.family}"
    dataset.SeriesDescription = f"{dataset.SeriesDescription} {patient.family}"
    dataset.StudyDescription = f"{dataset.StudyDescription} {patient.id}"
    dataset.ProtocolName = f"{dataset.ProtocolName} {patient.accession}"
    dataset.ImageComments = dataset.PatientComments = patient.comment
    dataset.CurrentPatientLocation = patient.institution
    dataset.AdditionalPatientHistory = f"{said}, born {patient.birth_date}, lives at {patient.address}"
    dataset.RequestedProcedureDescription = f"Abdomen, {patient.family}"
    dataset.PerformedProcedureStepDescription = f"Scanned by {patient.operator} for {patient.physician}"
    dataset.DerivationDescription = f"Copy for {patient.phone}"
    dataset.MedicalAlerts = f"Call {patient.phone}"
    dataset.DeviceDescription = f"Console of {patient.station}"


def _meta(dataset: Dataset, patient: FakePatient) -> None:
    """File meta information, the preamble and the padding after the pixels (PS3.10 7.1)."""
    dataset.file_meta.SourceApplicationEntityTitle = patient.station
    dataset.file_meta.PrivateInformationCreatorUID = make_uid("private", "information")
    dataset.file_meta.PrivateInformation = _even(patient.comment.encode())
    dataset.preamble = patient.comment.encode()[:128].ljust(128, b"\0")
    dataset.DataSetTrailingPadding = _even(patient.name.encode())


def _burned_in(dataset: Dataset, patient: FakePatient) -> None:
    dataset.BurnedInAnnotation = "YES"


def _unflagged(dataset: Dataset, patient: FakePatient) -> None:
    if "BurnedInAnnotation" in dataset:
        del dataset.BurnedInAnnotation


def _even(value: bytes, padding: bytes = b"\0") -> bytes:
    return value + padding * (len(value) % 2)


_PLANTERS: dict[str, Callable[[Dataset, FakePatient], None]] = {
    "nested_phi": _nested,
    "private_phi": _private,
    "overlay_phi": _overlay,
    "description_phi": _descriptions,
    "meta_phi": _meta,
    "burned_in": _burned_in,
    "unflagged_text": _unflagged,
}
