"""Agreement of two readers beyond chance."""

from collections import Counter
from collections.abc import Hashable, Sequence


def cohen_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Cohen's kappa (Cohen 1960) of two readers' verdicts on the same cases.

    Returns:
        1 for full agreement, 0 for what chance gives; None without cases, or where both readers gave all cases one
        and the same verdict, which chance alone explains.

    Raises:
        ValueError: the readers gave different numbers of verdicts.
    """
    if len(one) != len(other):
        raise ValueError(f"both readers must have a verdict on each case, got {len(one)} and {len(other)}")
    cases = len(one)
    if not cases:
        return None
    firsts, seconds = Counter(one), Counter(other)
    by_chance = sum(firsts[verdict] * seconds[verdict] for verdict in firsts) / cases**2
    if by_chance == 1:
        return None
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / cases
    return (observed - by_chance) / (1 - by_chance)
