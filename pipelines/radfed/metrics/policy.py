"""What a label scores when a mask is empty.

Overlap and distance are not defined between nothing and something, so what they count for is a decision; this is it.

=============  ================  =====  =====  =========  ==============================================
reference      prediction        Dice   NSD    HD95       counted as
=============  ================  =====  =====  =========  ==============================================
present        present           value  value  value      ``compared``: in every mean
absent         absent            1      1      0          ``both_empty``: left out of every mean
absent         present           0      0      undefined  ``false_positive``: 0 in the Dice and NSD means
present        absent            0      0      undefined  ``missed``: 0 in the Dice and NSD means
=============  ================  =====  =====  =========  ==============================================

Correctly finding nothing is right, but a dataset of empty cases must not raise a mean; being wrong must lower it; and
no distance is invented where there is no surface, so the HD95 mean covers the compared cases and says how many those
are. All four counts stand beside every mean. After Metrics Reloaded (Maier-Hein et al. 2024, Nature Methods 21).
"""

from enum import StrEnum

POLICY = (
    "Where the structure is absent from both reference and prediction, the case is counted apart and left out of the "
    "means (it would score Dice 1, NSD 1, HD95 0 mm). Where the prediction marks a structure that the reference does "
    "not have (false positive), or finds nothing where the reference has the structure (missed), Dice and NSD count "
    "as 0 in the means, and HD95, which is then undefined, is left out; both are counted and shown."
)


class Outcome(StrEnum):
    """Which of the two masks of a label hold anything."""

    COMPARED = "compared"
    BOTH_EMPTY = "both_empty"
    FALSE_POSITIVE = "false_positive"
    MISSED = "missed"

    @property
    def in_overlap_means(self) -> bool:
        """Whether Dice and NSD of such a label enter means."""
        return self is not Outcome.BOTH_EMPTY

    @property
    def in_distance_means(self) -> bool:
        """Whether HD95 of such a label enters means."""
        return self is Outcome.COMPARED


def outcome_of(prediction_present: bool, reference_present: bool) -> Outcome:
    """The row of the table above."""
    if reference_present:
        return Outcome.COMPARED if prediction_present else Outcome.MISSED
    return Outcome.FALSE_POSITIVE if prediction_present else Outcome.BOTH_EMPTY
