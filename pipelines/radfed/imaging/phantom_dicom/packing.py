"""Compressed and deflated transfer syntaxes; all of them without loss."""

from typing import Literal, get_args

from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from radfed.errors import InvalidInputError

Compression = Literal["none", "rle", "jpeg", "jpegls", "jpeg2000", "deflated"]
_BY_PYDICOM: dict[str, tuple[UID, str]] = {
    "rle": (RLELossless, "pydicom"),
    "jpegls": (JPEGLSLossless, "pyjpegls"),
    "jpeg2000": (JPEG2000Lossless, "pylibjpeg"),
}
_JPEG2000_LEAST = 32


def pack(dataset: Dataset, compression: Compression) -> None:
    """Change a data set with native pixels to the transfer syntax asked for, in place.

    ``jpeg`` is JPEG Lossless, Non-Hierarchical, First-Order Prediction (1.2.840.10008.1.2.4.70), by GDCM.

    Raises:
        InvalidInputError: no such compression, an image too small for it, or GDCM refuses.
    """
    if compression == "jpeg2000" and min(dataset.Rows, dataset.Columns) < _JPEG2000_LEAST:
        raise InvalidInputError(
            f"JPEG 2000 with six resolutions needs {_JPEG2000_LEAST} rows and columns, "
            f"got {dataset.Rows} and {dataset.Columns}; choose a larger volume or another compression"
        )
    if compression in _BY_PYDICOM:
        syntax, plugin = _BY_PYDICOM[compression]
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    elif compression == "jpeg":
        _pack_jpeg(dataset)
    elif compression == "deflated":
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    elif compression != "none":
        choices = ", ".join(get_args(Compression))
        raise InvalidInputError(f"compression of a phantom must be one of {choices}; got {compression!r}")


def _pack_jpeg(dataset: Dataset) -> None:
    frame_bytes = int(dataset.Rows) * int(dataset.Columns) * 2
    native = bytes(dataset.PixelData)
    frames = [_jpeg_frame(dataset, native[start : start + frame_bytes]) for start in range(0, len(native), frame_bytes)]
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1


def _jpeg_frame(dataset: Dataset, native: bytes) -> bytes:
    """One frame as a JPEG codestream; GDCM's Python interface hands bytes over as a string with surrogates."""
    import gdcm

    writer = gdcm.ImageWriter()  # owns the image; one made alone is freed twice
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((int(dataset.Columns), int(dataset.Rows), 1))
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, signed))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(native)
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(image)
    if not change.Change():
        raise InvalidInputError("GDCM could not compress a frame as JPEG Lossless; choose another compression")
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    return b"".join(
        fragments.GetFragment(number).GetByteValue().GetBuffer().encode("utf-8", "surrogateescape")
        for number in range(fragments.GetNumberOfFragments())
    )
