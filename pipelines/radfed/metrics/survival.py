"""How well a hazard orders patients by the time to their event, where some were not seen long enough to have it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.roc import Scores, Truth

_BLOCK = 512


@dataclass(frozen=True)
class Concordance:
    """Harrell's C (Harrell et al. 1982): of the pairs whose order is known, the share that the hazard orders rightly.

    A pair is comparable if the one with the shorter time had the event; of equal times, if one had the event and the
    other was censored. Equal hazards count half.

    Attributes:
        value: 0 to 1; a half is chance.
        concordant: pairs where the earlier event has the higher hazard.
        discordant: pairs where it has the lower one.
        tied: pairs with equal hazards.
    """

    value: float
    concordant: int
    discordant: int
    tied: int

    @property
    def comparable(self) -> int:
        """All pairs whose order is known."""
        return self.concordant + self.discordant + self.tied


@dataclass(frozen=True)
class SurvivalCurve:
    """Steps of a survival curve, each ``(T,)``: from ``times`` on, ``surviving`` of the patients had no event."""

    times: Scores
    surviving: Scores


def concordance(times: Scores, events: Truth, hazards: Scores) -> Concordance | None:
    """Harrell's C with its pairs; None where no pair is comparable or a value is not finite.

    Raises:
        ValueError: the three are not equally long vectors.
    """
    if times.ndim != 1 or not times.shape == events.shape == hazards.shape:
        raise ValueError(
            f"times, events and hazards must be equally long vectors, got {times.shape}, {events.shape}, "
            f"{hazards.shape}"
        )
    if not (np.isfinite(times).all() and np.isfinite(hazards).all()):
        return None
    right = wrong = tied = 0
    for start in range(0, len(times), _BLOCK):
        block = slice(start, start + _BLOCK)
        before = _before(times, events, block)
        right += int(np.count_nonzero(before & (hazards[block, None] > hazards)))
        wrong += int(np.count_nonzero(before & (hazards[block, None] < hazards)))
        tied += int(np.count_nonzero(before & (hazards[block, None] == hazards)))
    comparable = right + wrong + tied
    return Concordance((right + tied / 2) / comparable, right, wrong, tied) if comparable else None


def weighted_concordance(
    times: Scores, events: Truth, hazards: Scores, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Harrell's C for each of several weightings of the cases.

    Args:
        times: finite ``(N,)``.
        events: ``(N,)``.
        hazards: finite ``(N,)``.
        weights: how often each case counts ``(B, N)``.

    Returns:
        ``(B,)``, NaN where no pair is comparable.
    """
    won, comparable = np.zeros(len(weights)), np.zeros(len(weights))
    for start in range(0, len(times), _BLOCK):
        block = slice(start, start + _BLOCK)
        before = _before(times, events, block)
        score = before * (0.5 * (np.sign(hazards[block, None] - hazards) + 1))
        won += np.sum(weights[:, block] * (weights @ score.T), axis=1)
        comparable += np.sum(weights[:, block] * (weights @ before.T.astype(np.float64)), axis=1)
    return np.asarray(
        np.divide(won, comparable, out=np.full(len(weights), np.nan), where=comparable > 0), dtype=np.float64
    )


def kaplan_meier(times: Scores, events: Truth) -> SurvivalCurve:
    """The share without the event over time (Kaplan and Meier 1958), from time 0."""
    at = np.unique(times[events])
    risk = len(times) - np.searchsorted(np.sort(times), at)
    happened = np.searchsorted(np.sort(times[events]), at, "right") - np.searchsorted(np.sort(times[events]), at)
    surviving = np.cumprod(1 - happened / risk) if len(at) else np.empty(0)
    return SurvivalCurve(np.r_[0.0, at], np.r_[1.0, surviving])


def _before(times: Scores, events: Truth, block: slice) -> NDArray[np.bool_]:
    """Which of a block's cases are known to have had the event before which others ``(K, N)``."""
    own = times[block, None]
    known: NDArray[np.bool_] = events[block, None] & ((own < times) | ((own == times) & ~events))
    return known
