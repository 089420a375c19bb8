"""Label maps that a table names: PNG as it is drawn, or NIfTI."""

from pathlib import Path

import numpy as np
from PIL import Image

from radfed.errors import DataError
from radfed.imaging.nifti import read_label
from radfed.imaging.plane import plane
from radfed.imaging.unwarned import unwarned
from radfed.imaging.volume import Volume

_NIFTI = (".nii", ".nii.gz")
_MODES = ("1", "L", "P")
"""1 bit, 8 bits of grey, and a palette, whose indices are the label values."""


def read_mask(path: Path) -> Volume:
    """Read a label map as whole numbers ``(1, H, W, D)``; a PNG as a plane, on the grid that its picture has.

    Raises:
        DataError: ``unreadable``, ``unsupported_pixels`` for a PNG of colours or more than 8 bits, or of reading NIfTI.
    """
    if path.name.lower().endswith(_NIFTI):
        return read_label(path)
    try:
        with unwarned(), Image.open(path, formats=["PNG"]) as image:  # odd metadata
            if image.mode not in _MODES:
                raise DataError("unsupported_pixels", f"a label PNG of the mode {image.mode}; give 1 or 8 bits of grey")
            return plane(np.asarray(image).astype(np.uint8))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise DataError("unreadable", f"the label cannot be read as PNG ({type(error).__name__})") from error
