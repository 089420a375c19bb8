"""What a model is scored by in every round: the one place that names it, for ledgers, consoles, cards and reports."""

from enum import StrEnum


class Measure(StrEnum):
    """A number from 0 to 1, more is better, that the sites report of a round's model on their validation cases.

    Its value stands in ledgers and in the names of tracked numbers.
    """

    DICE = "dice"
    ONE_MINUS_BRIER = "one_minus_brier"
    CONCORDANCE = "concordance"
    SCORE = "score"
    """Of a ledger that does not say what was measured."""

    @property
    def words(self) -> str:
        """For people."""
        return _WORDS.get(self, "score")

    @property
    def over(self) -> str:
        """What it is the mean over."""
        return "pairs of cases" if self is Measure.CONCORDANCE else "cases"


_WORDS = {
    Measure.DICE: "mean Dice",
    Measure.ONE_MINUS_BRIER: "1 - mean Brier score",
    Measure.CONCORDANCE: "concordance",
}
