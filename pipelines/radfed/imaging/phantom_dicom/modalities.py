"""What PET, CR, DX and secondary capture images say beyond the common header; no vendor's private groups here."""

from pydicom import Dataset
from pydicom import Sequence as Items

from radfed.imaging.phantom_dicom.header import decimal, one
from radfed.imaging.phantom_dicom.slices import Slice
from radfed.imaging.phantom_dicom.storage import Storage


def pet(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """PET Series, PET Isotope and PET Image modules (PS3.3 C.8.9); the slope differs from slice to slice."""
    _equipment(dataset, "Phantom Biograph")
    del dataset.PatientPosition  # the coded terms below say it
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Units, dataset.CountsSource, dataset.SeriesType = "BQML", "EMISSION", ["STATIC", "IMAGE"]
    dataset.CorrectedImage, dataset.DecayCorrection, dataset.CollimatorType = ["DECY", "ATTN"], "START", "NONE"
    dataset.AttenuationCorrectionMethod, dataset.ReconstructionMethod = "CT", "OSEM"
    dataset.NumberOfSlices, dataset.ImageIndex = piece.count, piece.number
    dataset.ActualFrameDuration, dataset.FrameReferenceTime, dataset.DecayFactor = "120000", "60000", "1.01"
    dose = one(
        Radiopharmaceutical="Fluorodeoxyglucose", RadiopharmaceuticalStartTime=dataset.StudyTime,
        RadionuclideTotalDose="3.5E+08", RadionuclideHalfLife="6586.2", RadionuclidePositronFraction="0.9673",
        RadionuclideCodeSequence=one(CodeValue="77004003", CodingSchemeDesignator="SCT", CodeMeaning="^18^Fluorine"),
    )  # fmt: skip
    dataset.RadiopharmaceuticalInformationSequence = dose
    dataset.PatientOrientationCodeSequence = one(
        CodeValue="102538003", CodingSchemeDesignator="SCT", CodeMeaning="recumbent",
        PatientOrientationModifierCodeSequence=one(
            CodeValue="40199007", CodingSchemeDesignator="SCT", CodeMeaning="supine"),
    )  # fmt: skip
    dataset.PatientGantryRelationshipCodeSequence = one(
        CodeValue="102540008", CodingSchemeDesignator="SCT", CodeMeaning="headfirst"
    )


def cr(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """CR Series and CR Image modules (PS3.3 C.8.1)."""
    _projection(dataset)
    dataset.ImageType, dataset.ViewPosition = ["ORIGINAL", "PRIMARY"], "AP"
    dataset.ImagerPixelSpacing = [decimal(value) for value in piece.spacing]
    dataset.KVP, dataset.PlateID = "70", "PHANTOM"


def dx(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """DX Series, Anatomy Imaged, DX Image, DX Detector and DX Positioning modules (PS3.3 C.8.11), for presentation."""
    _projection(dataset)
    dataset.ImageType, dataset.ViewPosition = ["ORIGINAL", "PRIMARY", ""], "AP"
    dataset.PresentationIntentType, dataset.PresentationLUTShape = "FOR PRESENTATION", "IDENTITY"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.RescaleType, dataset.LossyImageCompression = "US", "00"
    dataset.ImageLaterality, dataset.AcquisitionContextSequence = "U", Items([])
    dataset.WindowCenter, dataset.WindowWidth = "2048", "4096"
    dataset.DetectorType, dataset.PositionerType = "DIRECT", "NONE"
    dataset.ImagerPixelSpacing = [decimal(value) for value in piece.spacing]
    dataset.AnatomicRegionSequence = one(CodeValue="818981001", CodingSchemeDesignator="SCT", CodeMeaning="Abdomen")
    dataset.ViewCodeSequence = one(
        CodeValue="399348003", CodingSchemeDesignator="SCT", CodeMeaning="antero-posterior",
        ViewModifierCodeSequence=Items([]),
    )  # fmt: skip


def secondary_capture(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """SC Equipment and SC Image modules (PS3.3 C.8.6): a picture of a screen, without geometry."""
    _projection(dataset)
    del dataset.PatientPosition, dataset.BurnedInAnnotation
    dataset.ImageType, dataset.ConversionType = ["DERIVED", "SECONDARY"], "WSD"
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = dataset.StudyDate, dataset.StudyTime
    dataset.SecondaryCaptureDeviceManufacturer = "PHANTOM"


def _equipment(dataset: Dataset, model: str) -> None:
    dataset.Manufacturer, dataset.ManufacturerModelName = "PHANTOM", model
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "radfed.phantom", "0"


def _projection(dataset: Dataset) -> None:
    _equipment(dataset, "Phantom Plate")
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    dataset.PatientOrientation = ["L", "F"]
