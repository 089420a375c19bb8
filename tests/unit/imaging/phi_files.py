"""Small DICOM files of many kinds with invented identities planted wherever a file can hold one."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

STORAGE = "1.2.840.10008.5.1.4.1.1."
CLASSES = {
    "CT": f"{STORAGE}2",
    "MR": f"{STORAGE}4",
    "EMR": f"{STORAGE}4.1",
    "PT": f"{STORAGE}128",
    "CR": f"{STORAGE}1",
    "US": f"{STORAGE}6.1",
    "SC": f"{STORAGE}7",
    "SEG": f"{STORAGE}66.4",
    "RTSTRUCT": f"{STORAGE}481.3",
}
HIDDEN = {"US", "SC"}
B_VALUE = "800"


@dataclass(frozen=True)
class Person:
    """An invented patient and everybody around; no part of a value is a word that anything else would hold."""

    family: str
    given: str
    middle: str
    number: str
    birth: date
    study_date: date
    accession: str
    physician: str
    operator: str
    institution: str
    street: str
    phone: str
    serial: str
    station: str
    secret_word: str

    @property
    def name(self) -> str:
        """As PatientName holds it."""
        return f"{self.family}^{self.given}^{self.middle}"

    @property
    def planted(self) -> tuple[str, ...]:
        """Every string that must be nowhere in an output."""
        orders = (f"{self.given} {self.family}", f"{self.family} {self.given}", f"{self.family}, {self.given}")
        dates = (self.birth.strftime("%Y%m%d"), self.birth.isoformat(), self.birth.strftime("%d.%m.%Y"))
        return (
            *(self.family, self.given, self.middle, self.name, *orders, self.number, *dates, self.accession),
            *(self.physician, self.operator, self.institution, self.street, self.phone, self.serial, self.station),
            self.secret_word,
        )


@dataclass
class Planted:
    """A file that was written, and what it held."""

    path: Path
    kind: str
    person: Person
    dataset: Dataset
    uids: set[str] = field(default_factory=set)

    @property
    def hidden(self) -> bool:
        """Whether its pixels are at risk."""
        return self.kind in HIDDEN or self.dataset.get("BurnedInAnnotation") == "YES"


def make_person(rng: random.Random) -> Person:
    """Draw a person."""

    def word() -> str:
        return "".join(rng.choice("bdfgklmnprtvz") + rng.choice("aeiou") for _ in range(4)).capitalize() + "x"

    def digits(count: int) -> str:
        return str(rng.randrange(10 ** (count - 1), 10**count))

    return Person(
        family=word(),
        given=word(),
        middle=word(),
        number=f"MRN{digits(7)}",
        birth=date(1930, 1, 1) + timedelta(days=rng.randrange(25_000)),
        study_date=date(2015, 1, 1) + timedelta(days=rng.randrange(3_000)),
        accession=f"A{digits(8)}",
        physician=word(),
        operator=word(),
        institution=f"{word()} {word()}",
        street=f"{word()} {digits(3)}",
        phone=f"0{digits(3)}-{digits(6)}",
        serial=f"SN{digits(7)}",
        station=f"ST{digits(5)}",
        secret_word=word(),
    )


def write_files(folder: Path, patients: int, files_each: int, seed: int) -> list[Planted]:
    """Write ``patients * files_each`` files, their kinds in turn, under names that hold identities too."""
    rng = random.Random(seed)
    planted = []
    for _ in range(patients):
        person = make_person(rng)
        prefix = f"1.3.6.1.4.1.99999.{rng.randrange(10**9)}"
        for index in range(files_each):
            kind = list(CLASSES)[index % len(CLASSES)]
            dataset = _file(kind, person, prefix, index, rng)
            path = folder / f"{person.family}_{person.number}" / f"{person.given}-{kind}-{index}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(path, enforce_file_format=True)
            planted.append(Planted(path, kind, person, dataset, set(_instance_uids(dataset))))
    return planted


def _file(kind: str, person: Person, prefix: str, index: int, rng: random.Random) -> Dataset:
    dataset = Dataset()
    _patient_and_study(dataset, kind, person, prefix, index)
    {"RTSTRUCT": _contours}.get(kind, _image)(dataset, kind, prefix, index, rng)
    if kind in _EXTRA:
        _EXTRA[kind](dataset, person, prefix)
    _plant_descriptions(dataset, person)
    _plant_sequences(dataset, person, prefix)
    _plant_private(dataset, person)
    _plant_graphics(dataset, person)
    if kind == "CT" and index % 2:
        dataset.BurnedInAnnotation = "YES"
    if kind == "CR":
        dataset.BurnedInAnnotation = "NO"
    implicit = index % 3 == 2
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = person.station
    meta.ImplementationVersionName = person.family[:16]
    meta.PrivateInformationCreatorUID = UID(f"{prefix}.77")
    meta.PrivateInformation = _even(person.name.encode())
    dataset.file_meta = meta
    dataset.preamble = f"{person.name} {person.number}".encode().ljust(128, b"\0")[:128]
    return dataset


def _patient_and_study(dataset: Dataset, kind: str, person: Person, prefix: str, index: int) -> None:
    day = person.study_date + timedelta(days=7 * (index // 9))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CLASSES[kind]
    dataset.SOPInstanceUID = f"{prefix}.3.{index}"
    dataset.StudyInstanceUID = f"{prefix}.1"
    dataset.SeriesInstanceUID = f"{prefix}.2.{index}"
    dataset.FrameOfReferenceUID = f"{prefix}.4"
    for name in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(dataset, name, day.strftime("%Y%m%d"))
    for name in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(dataset, name, "101112.345")
    dataset.AcquisitionDateTime = day.strftime("%Y%m%d") + "101112.345678+0100"
    dataset.AccessionNumber = person.accession
    dataset.Modality = {"EMR": "MR", "SC": "OT"}.get(kind, kind)
    dataset.Manufacturer = "SIEMENS"
    dataset.ManufacturerModelName = "Skyra"
    dataset.SoftwareVersions = "syngo MR E11"
    dataset.InstitutionName = person.institution
    dataset.InstitutionAddress = person.street
    dataset.ReferringPhysicianName = f"{person.physician}^Doc"
    dataset.PerformingPhysicianName = [f"{person.physician}^Doc", f"{person.operator}^Doc"]
    dataset.OperatorsName = person.operator
    dataset.StationName = person.station
    dataset.DeviceSerialNumber = person.serial
    dataset.PatientName = person.name
    dataset.PatientID = person.number
    dataset.IssuerOfPatientID = person.institution
    dataset.OtherPatientIDs = person.accession
    dataset.OtherPatientNames = f"{person.secret_word}^{person.given}"
    dataset.PatientBirthDate = person.birth.strftime("%Y%m%d")
    dataset.PatientBirthTime = "0815"
    dataset.PatientSex = "F"
    dataset.PatientAge = "093Y"
    dataset.PatientWeight = "71.5"
    dataset.PatientAddress = person.street
    dataset.PatientTelephoneNumbers = person.phone
    dataset.EthnicGroup = person.secret_word
    dataset.StudyID = person.accession
    dataset.SeriesNumber = 1 + index
    dataset.InstanceNumber = 1


def _image(dataset: Dataset, kind: str, prefix: str, index: int, rng: random.Random) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = 16
    bits = 1 if kind == "SEG" else 8 if kind in HIDDEN else 16
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing = ["0.9", "0.8"]
    dataset.SliceThickness = "2.5"
    dataset.ImagePositionPatient = ["-10", "-20", f"{index}"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.PositionReferenceIndicator = ""
    dataset.BodyPartExamined = "BRAIN"
    data = bytes(rng.randrange(256) for _ in range(max(16 * 16 * bits // 8, 2)))
    dataset.add(DataElement("PixelData", "OB" if bits <= 8 else "OW", data))


def _contours(dataset: Dataset, kind: str, prefix: str, index: int, rng: random.Random) -> None:
    region = Dataset()
    region.ROINumber, region.ROIName = 1, "Liver"
    region.ReferencedFrameOfReferenceUID = f"{prefix}.4"
    region.ROIGenerationAlgorithm = "MANUAL"
    other = Dataset()
    other.ROINumber, other.ROIName = 2, "Qwxyz"
    other.ReferencedFrameOfReferenceUID = f"{prefix}.4"
    other.ROIGenerationAlgorithm = ""
    dataset.StructureSetROISequence = Sequence([region, other])
    dataset.StructureSetLabel = "CT_1"
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.StudyDate, "120000"
    image, contour, drawn = Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CLASSES["CT"], f"{prefix}.3.0"
    contour.ContourImageSequence = Sequence([image])
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = 3
    contour.ContourData = ["0", "0", "1", "5", "0", "1", "0", "5", "1"]
    drawn.ContourSequence = Sequence([contour])
    drawn.ReferencedROINumber = 1
    dataset.ROIContourSequence = Sequence([drawn])


def _enhanced(dataset: Dataset, person: Person, prefix: str) -> None:
    """Functional groups, in which dates and UIDs lie three sequences deep."""
    frame, content, source = Dataset(), Dataset(), Dataset()
    content.FrameAcquisitionDateTime = dataset.AcquisitionDateTime
    content.FrameReferenceDateTime = dataset.AcquisitionDateTime
    content.StackID = "1"
    content.InStackPositionNumber = 1
    content.FrameComments = f"axial {person.secret_word}"
    frame.FrameContentSequence = Sequence([content])
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CLASSES["MR"], f"{prefix}.3.1"
    derivation = Dataset()
    derivation.SourceImageSequence = Sequence([source])
    frame.DerivationImageSequence = Sequence([derivation])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frame])
    dataset.NumberOfFrames = 1


def _segments(dataset: Dataset, person: Person, prefix: str) -> None:
    segment, series, image = Dataset(), Dataset(), Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, f"Liver {person.secret_word}"
    segment.SegmentAlgorithmType = "MANUAL"
    segment.TrackingID = person.secret_word
    segment.TrackingUID = f"{prefix}.5"
    segment.SegmentedPropertyTypeCodeSequence = Sequence([_code("10200004", "SCT", person.name)])
    dataset.SegmentSequence = Sequence([segment])
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CLASSES["CT"], f"{prefix}.3.0"
    series.SeriesInstanceUID = f"{prefix}.2.0"
    series.ReferencedInstanceSequence = Sequence([image])
    dataset.ReferencedSeriesSequence = Sequence([series])
    dataset.ContentCreatorName = person.physician
    dataset.ContentLabel = "LIVER"
    dataset.SegmentationType = "BINARY"
    dataset.NumberOfFrames = 1


_EXTRA: dict[str, Callable[[Dataset, Person, str], None]] = {"EMR": _enhanced, "SEG": _segments}


def _plant_descriptions(dataset: Dataset, person: Person) -> None:
    dataset.StudyDescription = f"MR BRAIN {person.family} {person.number}"
    dataset.SeriesDescription = f"T1 AXIAL {person.given}"
    dataset.ProtocolName = f"head_{person.secret_word}"
    dataset.ImageComments = f"{person.given} {person.family}, born {person.birth:%d.%m.%Y}, contrast"
    dataset.PatientComments = f"lives in {person.street}, call {person.phone}"
    dataset.AdditionalPatientHistory = f"seen by {person.physician}"
    dataset.DerivationDescription = f"for {person.operator}"
    dataset.RequestedProcedureDescription = f"brain for {person.institution}"
    dataset.SequenceName = "*tfl3d1"
    # Attributes that Table E.1-1 does not name, and one that the dictionary does not know.
    dataset.MetaboliteMapDescription = f"water {person.family}"
    dataset.ReconstructionDescription = f"fast {person.secret_word}"
    dataset.add_new(0x00181234, "LO", person.secret_word)
    dataset.add_new(0x00104321, "UN", _even(person.name.encode()))


def _plant_sequences(dataset: Dataset, person: Person, prefix: str) -> None:
    request = Dataset()
    request.RequestedProcedureID = person.accession
    request.ScheduledProcedureStepDescription = f"brain {person.family}"
    request.ScheduledProcedureStepID = person.accession
    dataset.RequestAttributesSequence = Sequence([request])
    referenced = Dataset()
    referenced.ReferencedSOPClassUID = CLASSES["MR"]
    referenced.ReferencedSOPInstanceUID = f"{prefix}.3.1"
    deep = Dataset()
    deep.PatientName, deep.StudyDate = person.name, dataset.StudyDate
    deep.add_new(0x00090010, "LO", "ACME 1.0")
    deep.add_new(0x00091001, "LO", person.name)
    deep.PurposeOfReferenceCodeSequence = Sequence([_code("121311", "DCM", person.family)])
    referenced.ReferencedStudySequence = Sequence([deep])
    dataset.ReferencedImageSequence = Sequence([referenced])
    dataset.ProcedureCodeSequence = Sequence([_code(person.accession, "99LOCAL", f"brain {person.institution}")])
    context = Dataset()
    context.ValueType, context.TextValue = "TEXT", person.secret_word
    context.ConceptNameCodeSequence = Sequence([_code("121106", "DCM", "Comment")])
    dataset.AcquisitionContextSequence = Sequence([context])
    before = Dataset()
    changed = Dataset()
    changed.PatientName, changed.PatientID = person.name, person.number
    before.ModifiedAttributesSequence = Sequence([changed])
    before.ModifyingSystem = person.station
    dataset.OriginalAttributesSequence = Sequence([before])
    # A standard sequence encoded as UN, whose items are in implicit VR (PS3.5 6.2.2).
    hidden = Dataset()
    hidden.ScheduledProcedureStepDescription = person.name
    _add_unknown(dataset, 0x00400260, _encoded(hidden))


def _plant_private(dataset: Dataset, person: Person) -> None:
    dataset.add_new(0x00090010, "LO", "ACME 1.0")
    dataset.add_new(0x00091001, "LO", person.name)
    dataset.add_new(0x00091002, "UN", _even(person.number.encode()))
    item = Dataset()
    item.add_new(0x00090010, "LO", "ACME 1.0")
    item.add_new(0x00091005, "PN", person.name)
    item.PatientAddress = person.street
    dataset.add_new(0x00091003, "SQ", Sequence([item]))
    _add_unknown(dataset, 0x00091004, _encoded(item))
    dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    dataset.add_new(0x0019100C, "IS", B_VALUE)
    dataset.add_new(0x00191008, "CS", person.family.upper())
    dataset.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    text = f"PatientName={person.name};".encode() + person.name.encode("utf-16-le")
    dataset.add_new(0x00291010, "OB", _even(text))


def _plant_graphics(dataset: Dataset, person: Person) -> None:
    dataset.add_new(0x50000022, "LO", person.name)
    dataset.add_new(0x50003000, "OW", _even(person.name.encode()))
    dataset.add_new(0x60000010, "US", 16)
    dataset.add_new(0x60000011, "US", 16)
    dataset.add_new(0x60000022, "LO", person.name)
    dataset.add_new(0x60001500, "LO", person.family)
    dataset.add_new(0x60003000, "OW", _even(person.name.encode()))
    dataset.add_new(0x60004000, "LT", person.street)
    dataset.add_new(0xFFFCFFFC, "OB", _even(person.name.encode()))


def _add_unknown(dataset: Dataset, tag: int, value: bytes) -> None:
    """Add an element as UN, also where pydicom would know better."""
    dataset[BaseTag(tag)] = RawDataElement(BaseTag(tag), "UN", len(value), value, 0, False, True)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value[:16], scheme, meaning
    return code


def _encoded(item: Dataset) -> bytes:
    """An item of a sequence in implicit VR little endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, item)
    body = bytes(buffer.getvalue())
    return b"\xfe\xff\x00\xe0" + len(body).to_bytes(4, "little") + body


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _instance_uids(dataset: Dataset) -> list[str]:
    """Every UID of a file that names an instance of something, at any depth."""
    found = []
    for element in dataset.iterall():
        if element.VR == "UI" and not str(element.value).startswith("1.2.840.10008."):
            found.append(str(element.value))
    return found


def pixels(dataset: Dataset) -> bytes:
    """The bytes of the pixels; none for what has none."""
    return bytes(dataset.PixelData) if "PixelData" in dataset else b""


def read(path: Path) -> Dataset:
    """Read a file whole."""
    return pydicom.dcmread(path)
