"""Overlap of two masks: the Dice coefficient (Dice 1945; Zijdenbos et al. 1994)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
LabelMap = NDArray[np.integer]


def dice(prediction: Mask, reference: Mask) -> float:
    """``2 |P and R| / (|P| + |R|)`` of two boolean masks of one shape; 1.0 where both are empty.

    Raises:
        ValueError: the shapes differ.
    """
    check_shapes(prediction, reference)
    total = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    if total == 0:
        return 1.0
    return 2.0 * int(np.count_nonzero(prediction & reference)) / total


def dice_per_label(prediction: LabelMap, reference: LabelMap, values: Sequence[int]) -> tuple[float, ...]:
    """Dice of each label value in two label maps ``(H, W, D)``, in the order of ``values``.

    Raises:
        ValueError: the shapes differ.
    """
    return tuple(dice(prediction == value, reference == value) for value in values)


def check_shapes(prediction: NDArray[np.generic], reference: NDArray[np.generic]) -> None:
    """Refuse two masks that do not lie on one grid.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(
            f"prediction and reference must have one shape, got {prediction.shape} and {reference.shape}; "
            "compare them on the grid of the image"
        )
