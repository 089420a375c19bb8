"""DICOM lookup tables: Modality LUT and VOI LUT (PS3.3 C.11.1.1.1, C.11.2.1.1).

pydicom's own functions index tables of 8-bit entries with 8-bit numbers and know no modality LUT of 10 to 15 bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset


@dataclass(frozen=True)
class LookupTable:
    """Entries for the input values from ``first`` on; values outside take the first or the last entry.

    Attributes:
        first: input value of the first entry.
        entries: ``(n,)`` output values.
        top: largest value that the table could give: of its nominal bits, or more where an entry is larger.
    """

    first: int
    entries: NDArray[np.uint16]
    top: int

    @classmethod
    def of(cls, item: Dataset, little_endian: bool) -> "LookupTable":
        """The table of an item of ModalityLUTSequence or VOILUTSequence.

        Raises:
            ValueError: the descriptor and the entries do not fit; and whatever pydicom raises on a broken item.
        """
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        count = count or 2**16
        data = item.LUTData
        if isinstance(data, bytes):
            # Of 8 bits, entries may be packed, an odd number of them padded to an even length.
            packed = bits == 8 and len(data) in (count, count + count % 2)
            kind = np.dtype(np.uint8 if packed else "<u2" if little_endian else ">u2")
            entries = np.frombuffer(data, kind, count=min(count, len(data) // kind.itemsize)).astype(np.uint16)
        else:
            entries = np.atleast_1d(np.asarray(data)).astype(np.uint16)
        if len(entries) != count or not 1 <= bits <= 16:
            raise ValueError(f"{len(entries)} entries of {bits} bits, promised are {count} of 8 to 16")
        return cls(first, entries, max(2**bits - 1, int(entries.max())))

    def apply(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """Look values up; fractions are rounded."""
        index = np.rint(values).astype(np.int64) - self.first
        looked_up: NDArray[np.uint16] = self.entries[np.clip(index, 0, len(self.entries) - 1)]
        return looked_up
