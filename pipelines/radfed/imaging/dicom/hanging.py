"""Turn a projection as it hangs before a reader, as far as PatientOrientation says how it lies (PS3.3 C.7.6.1.1.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OPPOSITE = {"L": "R", "R": "L", "H": "F", "F": "H", "A": "P", "P": "A"}


def hang(pixels: NDArray[Any], code: str) -> tuple[NDArray[Any], str | None, bool]:
    r"""Feet down; and of a frontal view the patient's left on the picture's right.

    A lateral or oblique view is turned, never mirrored. A view along the body, and a code that is missing or says
    nothing of head and feet, is left as stored.

    Args:
        pixels: ``(rows, columns)``.
        code: ``PatientOrientation``, such as ``L\F``: where the rows, then the columns lead to. Of a direction such as
            ``FR`` the first letter counts.

    Returns:
        The pixels, what was done or None, and whether rows and columns changed places.
    """
    letters = [part.strip()[:1].upper() for part in code.split("\\")]
    if len(letters) != 2 or any(letter not in _OPPOSITE for letter in letters):
        return pixels, None, False
    right, down = letters
    if (right in "HF") == (down in "HF"):
        return pixels, None, False
    done, swapped = [], right in "HF"
    if swapped:
        # Counter-clockwise: what led down leads to the right, what led to the right leads up.
        pixels, right, down = np.rot90(pixels), down, _OPPOSITE[right]
    if down == "H":
        pixels, right, down = np.rot90(pixels, 2), _OPPOSITE[right], "F"
        done = ["turned upright"]
    if swapped:
        done = ["turned upright"]
    if right == "R":
        pixels = np.fliplr(pixels)
        done.append("mirrored, the patient's left to the right")
    return pixels, " and ".join(done) or None, swapped
