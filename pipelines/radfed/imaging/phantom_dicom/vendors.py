"""What the big vendors put into the headers of CT and MR series, private groups included.

Only the outer form is theirs: the values are harmless and made up.
"""

import struct

from pydicom import Dataset

from radfed.imaging.phantom_dicom.header import decimal
from radfed.imaging.phantom_dicom.slices import Slice
from radfed.imaging.phantom_dicom.storage import Storage


def ge_ct(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """CT Image module (PS3.3 C.8.2.1) and the private groups of GE scanners."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "GE MEDICAL SYSTEMS", "LightSpeed Phantom"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "radfed.phantom.ct", "0"
    dataset.KVP, dataset.ScanOptions, dataset.ConvolutionKernel = "120", "HELICAL MODE", "STANDARD"
    dataset.DataCollectionDiameter = dataset.ReconstructionDiameter = "500"
    dataset.GantryDetectorTilt, dataset.TableHeight, dataset.RotationDirection = decimal(piece.tilt), "150", "CW"
    dataset.ExposureTime, dataset.XRayTubeCurrent, dataset.Exposure = "800", "200", "160"
    dataset.FilterType, dataset.GeneratorPower, dataset.FocalSpots = "BODY FILTER", "24000", "1.2"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    if "RescaleSlope" in dataset:
        dataset.RescaleType = "HU"
    block = dataset.private_block(0x0009, "GEMS_IDEN_01", create=True)
    block.add_new(0x01, "LO", "GE_GENESIS_FF")
    block.add_new(0x04, "SH", "LIGHTSPEED")
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0x0F, "DS", "150")
    block.add_new(0x1A, "LO", "S")
    block.add_new(0x1E, "DS", "500")
    block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x12, "SS", [14, 2, 3])
    block.add_new(0x27, "SH", "/1.375:1")


def siemens_mr(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """MR Image module (PS3.3 C.8.3.1) and the private groups of Siemens scanners."""
    _mr_image(dataset, piece)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "SIEMENS", "Phantom Avanto"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "syngo MR phantom", "0"
    dataset.SequenceName, dataset.MagneticFieldStrength, dataset.ImagingFrequency = "*tse2d1_15", "1.5", "63.68"
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x0F, "SH", "Normal")
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", csa_header({"NumberOfImagesInMosaic": ("US", ""), "SliceThickness": ("DS", "1.0")}))
    block.add_new(0x18, "CS", "MR")
    block.add_new(0x20, "OB", csa_header({"SequenceFileOwner": ("LT", "PHANTOM")}))
    block = dataset.private_block(0x0051, "SIEMENS MR HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x0B, "LO", f"{dataset.Rows}*{dataset.Columns}")
    block.add_new(0x0F, "LO", "BO1,2;SP1,2")


def philips_mr(dataset: Dataset, piece: Slice, storage: Storage) -> None:
    """MR Image module of Philips scanners, which rescale, and their private groups."""
    _mr_image(dataset, piece)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "Philips Medical Systems", "Phantom Ingenia"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "5.1.7", "0"
    dataset.SequenceName, dataset.MagneticFieldStrength, dataset.ImagingFrequency = "FFE", "3", "127.76"
    dataset.SpacingBetweenSlices = dataset.SliceThickness
    if "RescaleSlope" in dataset:
        dataset.RescaleType = "normalized"
    philips_private(dataset, storage)


def philips_private(dataset: Dataset, storage: Storage) -> None:
    """Philips's private groups, with the scale that turns displayed values into floating point ones."""
    block = dataset.private_block(0x2001, "Philips Imaging DD 001", create=True)
    block.add_new(0x03, "FL", 0.0)
    block.add_new(0x06, "CS", "N")
    block.add_new(0x14, "SL", 1)
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0D, "FL", 0.0)
    # Floating point value = displayed value / (slope * scale slope); this scale makes the two the same.
    block.add_new(0x0E, "FL", 1.0 / (storage.slope or 1.0))


def _mr_image(dataset: Dataset, piece: Slice) -> None:
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", "SK", "FS"
    dataset.MRAcquisitionType, dataset.RepetitionTime, dataset.EchoTime = "2D", "4000", "92"
    dataset.EchoTrainLength, dataset.EchoNumbers, dataset.NumberOfAverages = "15", "1", "1"
    dataset.ImagedNucleus, dataset.FlipAngle, dataset.PixelBandwidth = "1H", "150", "180"
    dataset.InPlanePhaseEncodingDirection, dataset.VariableFlipAngleFlag = "ROW", "N"
    dataset.WindowCenter, dataset.WindowWidth = "400", "800"


def csa_header(tags: dict[str, tuple[str, str]]) -> bytes:
    """A small header of the kind that Siemens scanners keep in group 0029 (version ``SV10``): name to (VR, value)."""
    packed = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(tags), 77)
    for name, (vr, value) in tags.items():
        text = value.encode() + b"\0" if value else b""
        packed += struct.pack("<64si4siii", name.encode(), 1, vr.encode(), 0, 6, 77)
        for number in range(6):
            item = text if number == 0 else b""
            packed += struct.pack("<iiii", len(item), len(item), 77, len(item)) + item + b"\0" * (-len(item) % 4)
    return packed
