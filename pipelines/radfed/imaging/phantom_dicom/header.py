"""What every phantom file says, whatever the modality: patient, study, series, equipment, identifiers."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from radfed.imaging.phantom_dicom.patient import FakePatient

IMPLEMENTATION_NAME = "RADFED_PHANTOM"


@dataclass(frozen=True)
class SeriesContext:
    """One series of one made-up visit; its UIDs follow from these values alone."""

    patient: FakePatient
    seed: int
    number: int
    description: str
    kind: str

    @property
    def study(self) -> str:
        """``StudyInstanceUID``: the same for all series of the visit."""
        return make_uid("study", self.patient.id, self.patient.accession)

    @property
    def frame_of_reference(self) -> str:
        """``FrameOfReferenceUID``: the same for all series of the visit."""
        return make_uid("frame", self.patient.id, self.patient.accession)

    @property
    def series(self) -> str:
        """``SeriesInstanceUID``."""
        return make_uid("series", self.study, self.seed, self.number, self.kind, self.description)

    def instance(self, number: int) -> str:
        """``SOPInstanceUID`` of the n-th file that was made, whatever its ``InstanceNumber`` says."""
        return make_uid("instance", self.series, number)


def make_uid(*parts: str | int) -> str:
    """A UID under 2.25 (PS3.5 B.2) that depends on nothing but the parts."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def decimal(value: float) -> DSfloat:
    """A DS of at most 16 characters (PS3.5 6.2), without a negative zero."""
    return DSfloat(round(float(value), 10) + 0.0, auto_format=True)


def one(**attributes: object) -> Items:
    """A sequence of one item with these attributes."""
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return Items([item])


def common_header(context: SeriesContext, sop_class: str, modality: str, instance: str) -> Dataset:
    """Patient, General Study, General Series, Frame of Reference, SOP Common and file meta (PS3.3 C.7, C.12)."""
    patient, dataset = context.patient, Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = instance
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = make_uid("implementation", IMPLEMENTATION_NAME)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance
    dataset.PatientName, dataset.PatientID = patient.name, patient.id
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = patient.birth_date, patient.sex, patient.age
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = patient.address, patient.phone
    dataset.StudyInstanceUID, dataset.StudyID = context.study, patient.study_id
    dataset.StudyDate, dataset.StudyTime = patient.study_date, patient.study_time
    dataset.SeriesDate, dataset.SeriesTime = patient.study_date, later(patient, 60)
    dataset.AccessionNumber, dataset.ReferringPhysicianName = patient.accession, patient.physician
    dataset.OperatorsName, dataset.InstitutionName = patient.operator, patient.institution
    dataset.StationName, dataset.StudyDescription = patient.station, "PHANTOM ABDOMEN"
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = modality, context.series, context.number
    dataset.SeriesDescription = dataset.ProtocolName = context.description
    dataset.BodyPartExamined, dataset.PatientPosition = "ABDOMEN", "HFS"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = context.frame_of_reference, None
    dataset.BurnedInAnnotation, dataset.QualityControlImage = "NO", "YES"
    return dataset


def later(patient: FakePatient, seconds: float) -> str:
    """A TM so long after the study began, with a fraction where there is one."""
    moment = datetime.strptime(patient.study_time, "%H%M%S") + timedelta(seconds=seconds)
    return moment.strftime("%H%M%S.%f" if moment.microsecond else "%H%M%S")
