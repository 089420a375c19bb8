"""Grey values as they are meant to be seen: modality, then values of interest, then which end is white.

PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (Photometric Interpretation), C.7.5.1.1.2 (Pixel Padding).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_windowing

from radfed.imaging.dicom.header import BIG_ENDIAN
from radfed.imaging.dicom.lookup import LookupTable

GREY_KEYWORDS = (
    *("PhotometricInterpretation", "BitsStored", "BitsAllocated", "PixelRepresentation", "RescaleSlope"),
    *("RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)
"""What a header must be read with."""

_COMPACT = (np.uint8, np.uint16, np.int16, np.int32)


@dataclass(frozen=True)
class Grey:
    """Grey values on their way.

    Attributes:
        values: ``(rows, columns)``.
        ends: least and largest value that there could be.
        steps: what was done, for the case's record.
    """

    values: NDArray[Any]
    ends: tuple[float, float]
    steps: tuple[str, ...] = field(default=())


def shown(stored: NDArray[Any], header: Dataset, transfer_syntax: str, *, interest: bool) -> Grey:
    """Stored values as a viewer would show them: more is brighter.

    Of several VOI LUTs or windows the first is taken, and a LUT before a window. A MONOCHROME1 image is turned round
    after that. Padding takes the darkest value of the rest.

    Args:
        stored: ``(rows, columns)``.
        header: with ``GREY_KEYWORDS``.
        transfer_syntax: its byte order is that of the tables.
        interest: whether the VOI LUT or window is applied.

    Raises:
        Exception: what pydicom and NumPy raise on a broken table or window, see ``PYDICOM_ERRORS``.
    """
    little = transfer_syntax != BIG_ENDIAN
    grey = _modality(stored, header, little)
    if interest:
        grey = _of_interest(grey, header, little)
    if header.PhotometricInterpretation == "MONOCHROME1":
        grey = Grey(sum(grey.ends) - grey.values, grey.ends, (*grey.steps, "inverted MONOCHROME1"))
    values, steps = _without_padding(stored, grey.values, header)
    return Grey(compact(values), grey.ends, (*grey.steps, *steps))


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in the smallest type that holds them, anything else as float32."""
    if values.dtype.kind == "f" and (values != np.rint(values)).any():
        return values.astype(np.float32)
    least, most = values.min(), values.max()
    for dtype in _COMPACT:
        limits = np.iinfo(dtype)
        if least >= limits.min and most <= limits.max:
            return values.astype(dtype)
    return values.astype(np.float32)


def _modality(stored: NDArray[Any], header: Dataset, little: bool) -> Grey:
    if header.get("ModalityLUTSequence"):
        table = LookupTable.of(header.ModalityLUTSequence[0], little)
        return Grey(table.apply(stored), (0.0, float(table.top)), ("Modality LUT",))
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None or intercept is None or (slope == 1 and intercept == 0):
        return Grey(stored.astype(np.int64), (float(ends[0]), float(ends[1])))
    slope, intercept = float(slope), float(intercept)
    return Grey(stored * slope + intercept, (ends[0] * slope + intercept, ends[1] * slope + intercept))


def _of_interest(grey: Grey, header: Dataset, little: bool) -> Grey:
    tables = [item for item in header.get("VOILUTSequence") or () if item.get("LUTData") is not None]
    if tables:
        table = LookupTable.of(tables[0], little)
        return Grey(table.apply(grey.values), (0.0, float(table.top)), (*grey.steps, "VOI LUT"))
    if header.get("WindowCenter") is None or header.get("WindowWidth") is None:
        return grey
    with np.errstate(over="ignore"):  # a steep sigmoid
        values = apply_windowing(grey.values, header)
    return Grey(values, grey.ends, (*grey.steps, f"{header.get('VOILUTFunction') or 'LINEAR'} window"))


def _without_padding(
    stored: NDArray[Any], values: NDArray[Any], header: Dataset
) -> tuple[NDArray[Any], tuple[str, ...]]:
    padding = header.get("PixelPaddingValue")
    if padding is None:
        return values, ()
    limit = header.get("PixelPaddingRangeLimit")
    ends = sorted((int(padding), int(padding if limit is None else limit)))
    padded = (stored >= ends[0]) & (stored <= ends[1])
    if padded.all() or not padded.any():
        return values, ()
    return np.where(padded, values[~padded].min(), values), ("padding made dark",)
