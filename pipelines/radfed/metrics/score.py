"""One label of one case, scored: Dice, HD95 and NSD under the policy for empty masks."""

from collections.abc import Sequence
from dataclasses import dataclass

from radfed.metrics.overlap import Mask, check_shapes, dice
from radfed.metrics.policy import Outcome, outcome_of
from radfed.metrics.surface import hd95, nsd, surface_distances


@dataclass(frozen=True)
class Score:
    """What one label of one case scores.

    Attributes:
        outcome: which masks hold anything.
        dice: 0 to 1.
        hd95: mm; None where it is undefined.
        nsd: 0 to 1.
    """

    outcome: Outcome
    dice: float
    hd95: float | None
    nsd: float


def score(prediction: Mask, reference: Mask, spacing: Sequence[float], tolerance: float) -> Score:
    """Score two boolean masks ``(H, W, D)`` on one grid.

    Args:
        prediction: what the model marked.
        reference: what the reader marked.
        spacing: distance between voxel centres along each axis (mm).
        tolerance: surface distance that NSD forgives (mm).

    Raises:
        ValueError: the shapes differ, or spacing or tolerance make no sense.
    """
    check_shapes(prediction, reference)
    outcome = outcome_of(bool(prediction.any()), bool(reference.any()))
    if outcome is Outcome.BOTH_EMPTY:
        return Score(outcome, dice=1.0, hd95=0.0, nsd=1.0)
    distances = surface_distances(prediction, reference, spacing)
    if distances is None:
        return Score(outcome, dice=0.0, hd95=None, nsd=0.0)
    return Score(outcome, dice(prediction, reference), hd95(distances), nsd(distances, tolerance))
