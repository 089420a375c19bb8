"""What is done with an attribute: the standard's table first, and for what it does not name, by kind of value."""

from enum import Enum
from functools import cache

from pydicom.datadict import dictionary_has_tag, keyword_for_tag

from radfed.imaging.deid.table import Row, profile


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


TEXTS = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
_TEMPORAL = frozenset({"DA", "DT", "TM"})
NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT", "OF", "OD", "OL"})


class Action(Enum):
    """One way to treat an element."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    KEEP = "K"
    RECURSE = "each item of the sequence"
    DATE = "moved by the patient's days"
    CLEAN_OR_REMOVE = "allowed words; none: X"
    CLEAN_OR_EMPTY = "allowed words; none: Z"
    CLEAN_OR_DUMMY = "allowed words; none: D"
    PLAIN = "without words that look like identifiers"
    CODE = "as part of a code"
    CODED = "a value of a CS that keeps to its characters"
    AGE = "capped"
    PSEUDONYM = "the patient's"
    CHARACTER_SET = "as it is, if known"


_BY_KEYWORD = {
    "PatientID": Action.PSEUDONYM,
    "PatientName": Action.PSEUDONYM,
    "PatientAge": Action.AGE,
    "SpecificCharacterSet": Action.CHARACTER_SET,
    "BodyPartExamined": Action.CLEAN_OR_EMPTY,
    "EncryptedAttributesSequence": Action.REMOVE,  # the source's identity, for those who hold the key
    # References: their UIDs are replaced as everywhere, so that objects still find each other.
    "ReferencedImageSequence": Action.RECURSE,
    "SourceImageSequence": Action.RECURSE,
    "ReferencedStudySequence": Action.RECURSE,
    "ReferencedPerformedProcedureStepSequence": Action.RECURSE,
    # Who operated, and where: never required of images.
    "OperatorIdentificationSequence": Action.REMOVE,
    "InstitutionCodeSequence": Action.REMOVE,
    "ContentLabel": Action.CLEAN_OR_DUMMY,
    # Names of structures have to stay apart.
    "ROIName": Action.CLEAN_OR_DUMMY,
    "CodeValue": Action.CODE,
    "LongCodeValue": Action.CODE,
    "URNCodeValue": Action.CODE,
    "CodeMeaning": Action.CODE,
    "CodingSchemeDesignator": Action.CODE,
    "CodingSchemeVersion": Action.CODE,
    # Written anew.
    "PatientIdentityRemoved": Action.REMOVE,
    "DeidentificationMethod": Action.REMOVE,
    "DeidentificationMethodCodeSequence": Action.REMOVE,
    "LongitudinalTemporalInformationModified": Action.REMOVE,
}

_NARRATIVES = _listed(
    """
    AdditionalPatientHistory ReasonForStudy ReasonForTheImagingServiceRequest ReasonForTheRequestedProcedure
    ReasonForVisit PatientComments VisitComments ImagingServiceRequestComments RequestedProcedureComments
    AdmittingDiagnosesDescription DischargeDiagnosisDescription ServiceEpisodeDescription MedicalAlerts Allergies
    Occupation PatientState SpecialNeeds PreMedication InterpretationText InterpretationDiagnosisDescription
    Impressions ResultsComments
    """
)
"""Stories about the patient: removed as the Basic Profile says, not cleaned; no image is described by them."""

_EQUIPMENT = _listed(
    """
    Manufacturer ManufacturerModelName SoftwareVersions ConvolutionKernel SequenceName PulseSequenceName FilterType
    ReceiveCoilName ReceiveCoilManufacturerName TransmitCoilName TransmitCoilManufacturerName MultiCoilElementName
    QuadratureReceiveCoil ImagedNucleus ResonantNucleus RescaleType LUTExplanation LUTLabel Units StackID
    ModalityLUTType WindowCenterWidthExplanation PositionReferenceIndicator DimensionDescriptionLabel
    DimensionIndexPrivateCreator FunctionalGroupPrivateCreator AttenuationCorrectionMethod ScatterCorrectionMethod
    ReconstructionMethod DecayCorrection CollimatorGridName DetectorType SegmentAlgorithmName AlgorithmName
    AlgorithmVersion DigitalSignalProcessor RandomsCorrectionMethod TransducerData ProcessingFunction
    SecondaryCaptureDeviceManufacturer SecondaryCaptureDeviceManufacturerModelName
    SecondaryCaptureDeviceSoftwareVersions DetectorManufacturerName DetectorManufacturerModelName
    """
)
"""Texts that name equipment or technique and that Table E.1-1 leaves alone."""

_PIXELS = _listed(
    """
    PixelData FloatPixelData DoubleFloatPixelData LUTData ICCProfile SpectroscopyData RedPaletteColorLookupTableData
    GreenPaletteColorLookupTableData BluePaletteColorLookupTableData AlphaPaletteColorLookupTableData
    SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
    SegmentedBluePaletteColorLookupTableData ExtendedOffsetTable ExtendedOffsetTableLengths
    LongPrimitivePointIndexList
    """
)
"""What may be of an opaque kind (OB, OW, OV)."""

_UIDS_KEPT = frozenset({"TransferSyntaxUID", "CodingSchemeUID", "ContextUID", "MappingResourceUID"})

_LETTERS = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    "U*": Action.RECURSE,
    "K": Action.KEEP,
}
_CLEANED = {"X": Action.CLEAN_OR_REMOVE, "Z": Action.CLEAN_OR_EMPTY, "D": Action.CLEAN_OR_DUMMY}


@cache
def action(tag: int, vr: str) -> Action:
    """What is done with a standard attribute of this value representation."""
    group = tag >> 16
    if tag & 0xFFFF == 0 or group < 8 or group & 0xFF00 in (0x5000, 0x6000) or not dictionary_has_tag(tag):
        return Action.REMOVE  # group lengths, commands, curves, overlays, and what the standard does not know
    keyword = keyword_for_tag(tag)
    chosen = Action.REMOVE if keyword in _NARRATIVES else _BY_KEYWORD.get(keyword)
    if chosen is not None:
        return chosen
    row = profile().get(tag)
    return _unnamed(keyword, vr) if row is None else _named(row, vr)


def _named(row: Row, vr: str) -> Action:
    """For an attribute of Table E.1-1. Of several actions the last one is taken: it keeps any object valid."""
    if row.patient_characteristics == "K" and vr in NUMBERS:
        return Action.KEEP
    if row.patient_characteristics == "K" and vr == "CS":
        return Action.CODED
    if row.modified_dates and (vr in _TEMPORAL or row.tag == "00080201"):  # TimezoneOffsetFromUTC
        return Action.DATE
    if vr in TEXTS and (row.clean_descriptors or row.patient_characteristics):
        return _CLEANED[row.last]
    if vr == "SQ" and row.last == "D":
        return Action.RECURSE
    return _LETTERS[row.last]


def _unnamed(keyword: str, vr: str) -> Action:
    """For an attribute that Table E.1-1 does not name."""
    if vr == "SQ":
        return Action.RECURSE
    if vr in NUMBERS:
        return Action.KEEP
    if vr == "CS":
        return Action.CODED
    if vr in TEXTS:
        return Action.PLAIN if keyword in _EQUIPMENT else Action.CLEAN_OR_DUMMY
    if vr in _TEMPORAL:
        return Action.DATE
    if vr == "UI":
        return Action.KEEP if keyword.endswith("ClassUID") or keyword in _UIDS_KEPT else Action.UID
    if vr == "PN":
        return Action.DUMMY
    if vr in ("OB", "OW", "OV") and keyword in _PIXELS:
        return Action.KEEP
    return Action.REMOVE  # AE, UR, UN and opaque values that nobody has looked into
