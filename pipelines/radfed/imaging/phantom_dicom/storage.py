"""Stored values: how units of the modality become bits in a file, and how these are packed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radfed.errors import InvalidInputError

Stored = NDArray[np.uint16 | np.int16]


@dataclass(frozen=True)
class Storage:
    """Stored pixel values: ``units = slope * stored + intercept`` (PS3.3 C.11.1).

    Attributes:
        bits: ``BitsStored``, of 16 allocated.
        signed: ``PixelRepresentation`` 1.
        slope: ``RescaleSlope``, or None for a header without rescale.
        intercept: ``RescaleIntercept``.
    """

    bits: int
    signed: bool
    slope: float | None = None
    intercept: float = 0.0

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest stored value."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    def fits(self, values: NDArray[np.int32]) -> bool:
        """Whether all values can be stored without loss."""
        stored = (values - self.intercept) / (self.slope or 1.0)
        low, high = self.limits
        return bool((stored == np.rint(stored)).all() and stored.min() >= low and stored.max() <= high)

    def stored(self, values: NDArray[np.int32]) -> Stored:
        """Units ``(rows, columns)`` to stored values.

        Raises:
            InvalidInputError: they cannot be stored without loss.
        """
        if not self.fits(values):
            raise InvalidInputError(
                f"values from {values.min()} to {values.max()} cannot be stored without loss as "
                f"{'signed' if self.signed else 'unsigned'} {self.bits} bits with slope {self.slope or 1.0:g} and "
                f"intercept {self.intercept:g}; choose another storage"
            )
        units = np.rint((values - self.intercept) / (self.slope or 1.0))
        stored: Stored = units.astype(np.int16 if self.signed else np.uint16)
        return stored


def put_pixels(dataset: Dataset, stored: Stored, storage: Storage) -> None:
    """Give a data set its pixel module and native pixels, ``(rows, columns)`` or ``(frames, rows, columns)``."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, storage.bits, storage.bits - 1
    dataset.PixelRepresentation = int(storage.signed)
    little = np.ascontiguousarray(stored).astype("<i2" if storage.signed else "<u2")
    # Signed values of fewer than 16 bits keep their sign bits above HighBit, as most scanners write them.
    dataset.add_new("PixelData", "OW", little.tobytes())
