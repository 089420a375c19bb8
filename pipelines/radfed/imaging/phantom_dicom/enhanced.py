"""Enhanced multi-frame series: all slices in one file, with functional groups and dimensions (PS3.3 C.7.6.16)."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage

from radfed.imaging.phantom_dicom.header import SeriesContext, common_header, decimal, later, make_uid, one
from radfed.imaging.phantom_dicom.slices import Slice
from radfed.imaging.phantom_dicom.storage import Storage, put_pixels
from radfed.imaging.phantom_dicom.vendors import philips_private


def enhanced_ct(context: SeriesContext, pieces: Sequence[Slice], serial: int, storages: Sequence[Storage]) -> Dataset:
    """An Enhanced CT image (PS3.3 A.38) of all pieces, one frame each."""
    dataset = _multiframe(context, pieces, serial, storages, EnhancedCTImageStorage, "CT")
    dataset.Manufacturer, dataset.ManufacturerModelName = "TOSHIBA", "Phantom Aquilion"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "radfed.phantom", "0"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.MultienergyCTAcquisition = "NO"
    shared, frame_type = dataset.SharedFunctionalGroupsSequence[0], list(dataset.ImageType)
    shared.CTImageFrameTypeSequence = one(FrameType=frame_type, **_COMMON_FRAME)
    shared.CTAcquisitionTypeSequence = one(AcquisitionType="SEQUENCED", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")
    shared.CTAcquisitionDetailsSequence = one(
        RotationDirection="CW", RevolutionTime=0.5, SingleCollimationWidth=0.5, TotalCollimationWidth=32.0,
        TableHeight=150.0, GantryDetectorTilt=pieces[0].tilt, DataCollectionDiameter=500.0,
    )  # fmt: skip
    shared.CTReconstructionSequence = one(
        ReconstructionAlgorithm="FILTER_BACK_PROJ", ConvolutionKernel="FC13", ConvolutionKernelGroup="SOFT_TISSUE",
        ReconstructionDiameter=500.0, ReconstructionPixelSpacing=list(pieces[0].spacing), ReconstructionAngle=360.0,
        ImageFilter="NONE",
    )  # fmt: skip
    shared.CTExposureSequence = one(
        ExposureTimeInms=500.0, XRayTubeCurrentInmA=200.0, ExposureInmAs=100.0, ExposureModulationType="NONE",
        CTDIvol=5.0, CTDIPhantomTypeCodeSequence=one(
            CodeValue="113691", CodingSchemeDesignator="DCM", CodeMeaning="IEC Body Dosimetry Phantom"),
    )  # fmt: skip
    shared.CTXRayDetailsSequence = one(
        KVP=120.0,
        FocalSpots=[1.2],
        FilterType="FLAT",
        FilterMaterial=["ALUMINUM"],
        CalciumScoringMassFactorPatient=1.0,
        EnergyWeightingFactor=1.0,
    )
    shared.CTGeometrySequence = one(DistanceSourceToDetector=1072.0, DistanceSourceToDataCollectionCenter=600.0)
    event = make_uid("irradiation", context.series, pieces[0].acquisition)
    shared.IrradiationEventIdentificationSequence = one(IrradiationEventUID=event)
    shared.CTTableDynamicsSequence = one(TableSpeed=20.0)
    for frame, piece in zip(dataset.PerFrameFunctionalGroupsSequence, pieces, strict=True):
        frame.CTPositionSequence = one(
            TablePosition=float(piece.position[2]), ReconstructionTargetCenterPatient=[0.0, 0.0, 0.0],
            DataCollectionCenterPatient=[0.0, 0.0, 0.0],
        )  # fmt: skip
    return dataset


def enhanced_mr(context: SeriesContext, pieces: Sequence[Slice], serial: int, storages: Sequence[Storage]) -> Dataset:
    """An Enhanced MR image (PS3.3 A.36) of all pieces, one frame each."""
    dataset = _multiframe(context, pieces, serial, storages, EnhancedMRImageStorage, "MR")
    dataset.Manufacturer, dataset.ManufacturerModelName = "Philips Medical Systems", "Phantom Ingenia"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "5.1.7", "0"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T2", "NONE"]
    for name, value in _PULSE_SEQUENCE.items():
        setattr(dataset, name, value)
    shared, frame_type = dataset.SharedFunctionalGroupsSequence[0], list(dataset.ImageType)
    dataset.ComplexImageComponent, dataset.AcquisitionContrast = "MAGNITUDE", "T2"
    shared.MRImageFrameTypeSequence = one(
        FrameType=frame_type, ComplexImageComponent="MAGNITUDE", AcquisitionContrast="T2", **_COMMON_FRAME
    )
    shared.MRTimingAndRelatedParametersSequence = one(
        RepetitionTime="4000", FlipAngle="90", EchoTrainLength=15, RFEchoTrainLength=15, GradientEchoTrainLength=0,
        SpecificAbsorptionRateSequence=one(
            SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.5),
        GradientOutputType="DB_DT", GradientOutput=30.0, OperatingModeSequence=one(
            OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL"),
    )  # fmt: skip
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    shared.MRFOVGeometrySequence = one(
        InPlanePhaseEncodingDirection="ROW", MRAcquisitionFrequencyEncodingSteps=columns,
        MRAcquisitionPhaseEncodingStepsInPlane=rows, PercentSampling="100", PercentPhaseFieldOfView="100",
    )  # fmt: skip
    shared.MREchoSequence = one(EffectiveEchoTime=92.0)
    shared.MRModifierSequence = one(
        InversionRecovery="NO", FlowCompensation="NONE", Spoiling="NONE", T2Preparation="NO",
        SpectrallySelectedExcitation="NONE", SpatialPresaturation="NONE", PartialFourier="NO",
        ParallelAcquisition="NO",
    )  # fmt: skip
    shared.MRImagingModifierSequence = one(
        MagnetizationTransfer="NONE", BloodSignalNulling="NO", Tagging="NONE", TransmitterFrequency=127.76,
        PixelBandwidth="180",
    )  # fmt: skip
    shared.MRReceiveCoilSequence = one(
        ReceiveCoilName="BODY", ReceiveCoilType="BODY", ReceiveCoilManufacturerName="", QuadratureReceiveCoil="YES"
    )
    shared.MRTransmitCoilSequence = one(
        TransmitCoilName="BODY", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
    )
    shared.MRAveragesSequence = one(NumberOfAverages="1")
    philips_private(dataset, Storage(storages[0].bits, storages[0].signed))
    return dataset


_COMMON_FRAME = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
}
_PULSE_SEQUENCE = {
    "ContentQualification": "RESEARCH",
    "ResonantNucleus": "1H",
    "KSpaceFiltering": "NONE",
    "MagneticFieldStrength": 3.0,
    "ApplicableSafetyStandardAgency": "IEC",
    "PulseSequenceName": "TSE",
    "MRAcquisitionType": "2D",
    "EchoPulseSequence": "SPIN",
    "MultipleSpinEcho": "YES",
    "MultiPlanarExcitation": "NO",
    "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO",
    "EchoPlanarPulseSequence": "NO",
    "SteadyStatePulseSequence": "NONE",
    "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE",
    "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR",
    "SegmentedKSpaceTraversal": "SINGLE",
    "RectilinearPhaseEncodeReordering": "LINEAR",
    "NumberOfKSpaceTrajectories": 1,
}


def _multiframe(
    context: SeriesContext,
    pieces: Sequence[Slice],
    serial: int,
    storages: Sequence[Storage],
    sop_class: str,
    modality: str,
) -> Dataset:
    """What both kinds share: pixels, Multi-frame Functional Groups, Multi-frame Dimension, Acquisition Context."""
    dataset = common_header(context, sop_class, modality, context.instance(serial))
    patient = context.patient
    dataset.InstanceNumber, dataset.AcquisitionNumber = serial, pieces[0].acquisition
    dataset.ContentDate, dataset.ContentTime = patient.study_date, later(patient, 120)
    dataset.AcquisitionDateTime = patient.study_date + later(patient, 60 + 30 * pieces[0].acquisition)
    dataset.AcquisitionDuration, dataset.ContentQualification = 30.0, "RESEARCH"
    for name, value in _COMMON_FRAME.items():
        setattr(dataset, name, value)
    dataset.LossyImageCompression, dataset.PresentationLUTShape = "00", "IDENTITY"
    dataset.AcquisitionContextSequence = Items([])
    _dimensions(dataset, context)
    shared, frames = (
        Dataset(),
        [_frame(context, piece, storage) for piece, storage in zip(pieces, storages, strict=True)],
    )
    region = one(CodeValue="818981001", CodingSchemeDesignator="SCT", CodeMeaning="Abdomen")
    shared.FrameAnatomySequence = one(AnatomicRegionSequence=region, FrameLaterality="U")
    for group in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        _share(shared, frames, group)
    dataset.NumberOfFrames = len(pieces)
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    stored = [storage.stored(piece.values) for piece, storage in zip(pieces, storages, strict=True)]
    put_pixels(dataset, np.stack(stored), storages[0])
    return dataset


def _dimensions(dataset: Dataset, context: SeriesContext) -> None:
    organisation = make_uid("dimensions", context.series)
    dataset.DimensionOrganizationSequence = one(DimensionOrganizationUID=organisation)
    stack, place = (
        one(DimensionOrganizationUID=organisation, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)[0]
        for pointer in (0x00209056, 0x00209057)  # StackID, InStackPositionNumber
    )
    dataset.DimensionIndexSequence = Items([stack, place])


def _frame(context: SeriesContext, piece: Slice, storage: Storage) -> Dataset:
    """The functional groups of one frame."""
    frame, moment = Dataset(), context.patient.study_date + later(context.patient, 90 + 0.25 * piece.number)
    frame.FrameContentSequence = one(
        StackID="1", InStackPositionNumber=piece.number, DimensionIndexValues=[1, piece.number],
        FrameAcquisitionNumber=piece.acquisition, FrameAcquisitionDateTime=moment, FrameReferenceDateTime=moment,
        FrameAcquisitionDuration=250.0,
    )  # fmt: skip
    frame.PlanePositionSequence = one(ImagePositionPatient=[decimal(value) for value in piece.position])
    frame.PlaneOrientationSequence = one(ImageOrientationPatient=[decimal(value) for value in piece.orientation])
    frame.PixelMeasuresSequence = one(
        PixelSpacing=[decimal(value) for value in piece.spacing],
        SliceThickness=decimal(piece.thickness),
        SpacingBetweenSlices=decimal(piece.thickness),
    )
    if piece.rescaled and storage.slope is not None:
        frame.PixelValueTransformationSequence = one(
            RescaleIntercept=decimal(storage.intercept),
            RescaleSlope=decimal(storage.slope),
            RescaleType="HU" if context.kind.endswith("ct") else "US",
        )
    return frame


def _share(shared: Dataset, frames: list[Dataset], group: str) -> None:
    """Move a group from the frames to the shared ones if it is the same in all of them."""
    if all(frame[group] == frames[0][group] for frame in frames):
        setattr(shared, group, frames[0][group].value)
        for frame in frames:
            delattr(frame, group)
