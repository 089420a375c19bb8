"""All sites' answers together: counts, means and areas from sums.

Two patients of one site were compared at home, so those pairs of an AUROC are exact. A pair of two sites' patients is
known where their bins do not overlap; where they do, either may score higher, and cases are taken to lie evenly in a
bin. So the area lies between two bounds, which are told with it, and its interval is that of Hanley and McNeil 1982
around both.
"""

import math
from collections.abc import Sequence

from radfed.metrics.answer_sums import AnswerCounts, AnswerSums, Bin, EventSums, QuestionSums
from radfed.metrics.operating import wilson
from radfed.metrics.pooling import Z
from radfed.metrics.sums import PooledMean, pooled_mean
from radfed.settings import Settings


class Number(Settings):
    """A value with its 95 % interval; null where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


class Area(Settings):
    """An AUROC over all sites' patients, from sums."""

    value: float
    low: float | None = None
    high: float | None = None
    least: float
    """The area is at least this, whatever the order within overlapping bins."""
    most: float
    within_sites: float
    """Over pairs of patients of one site alone, which is exact."""


class Answers(Settings):
    """Right and wrong answers at the operating point."""

    threshold: float | None
    true_positives: int | None = None
    false_positives: int | None = None
    true_negatives: int | None = None
    false_negatives: int | None = None
    sensitivity: Number | None = None
    specificity: Number | None = None
    positive_predictive_value: Number | None = None
    negative_predictive_value: Number | None = None


class CalibrationBin(Settings):
    """Predicted and observed between two probabilities at which every site's bins have an edge."""

    low: float
    high: float
    predicted: float
    observed: float
    cases: int


class QuestionScores(Settings):
    """One class against the others, or one finding."""

    positives: int | None
    negatives: int | None
    auroc: Area | None
    answers: Answers
    calibration_bins: tuple[CalibrationBin, ...]
    calibration_error: float | None


class Events(Settings):
    """Order of events, over pairs of patients of one site."""

    events: int
    pairs: int
    concordance_within_sites: float


class AnswerGroup(Settings):
    """The cases of a site, or of all."""

    cases: int
    patients: int
    accuracy: PooledMean | None
    brier: PooledMean | None
    questions: dict[str, QuestionScores]
    confusion: tuple[tuple[int, ...], ...]
    survival: Events | None


def pool_answers(sites: Sequence[AnswerSums], cases: int, patients: int) -> AnswerGroup:
    """The answers of one or more sites together. What one of them held back is not pooled.

    Args:
        sites: what each tells.
        cases: how many there are in all.
        patients: the same.
    """
    matrices = [site.confusion for site in sites]
    return AnswerGroup(
        cases=cases,
        patients=patients,
        accuracy=pooled_mean([site.right for site in sites], 0, 1),
        brier=pooled_mean([site.brier for site in sites], 0, 1),
        questions={
            name: _question([site.questions[name] for site in sites], sites[0].thresholds.get(name))
            for name in sites[0].questions
        },
        confusion=_added(matrices) if all(matrices) else (),
        survival=_events([site.events for site in sites]),
    )


def _added(matrices: Sequence[tuple[tuple[int, ...], ...]]) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(sum(cells) for cells in zip(*rows, strict=True)) for rows in zip(*matrices, strict=True)
    )  # fmt: skip


def _question(parts: Sequence[QuestionSums], threshold: float | None) -> QuestionScores:
    counts = [part.answers for part in parts if part.answers is not None]
    known = [(p.positives, p.negatives) for p in parts if p.positives is not None and p.negatives is not None]
    complete = len(known) == len(parts)
    bins = _common_bins([part.bins for part in parts])
    cases = sum(one.cases for one in bins)
    error = sum(one.cases * abs(one.predicted - one.observed) for one in bins) / cases if cases else None
    return QuestionScores(
        positives=sum(positives for positives, _ in known) if complete else None,
        negatives=sum(negatives for _, negatives in known) if complete else None,
        auroc=_area(parts),
        answers=_answers(counts, threshold) if len(counts) == len(parts) else Answers(threshold=threshold),
        calibration_bins=bins,
        calibration_error=error,
    )


def _answers(parts: Sequence[AnswerCounts], threshold: float | None) -> Answers:
    tp, fp, tn, fn = (
        sum(getattr(part, name) for part in parts)
        for name in ("true_positives", "false_positives", "true_negatives", "false_negatives")
    )
    return Answers(
        threshold=threshold, true_positives=tp, false_positives=fp, true_negatives=tn, false_negatives=fn,
        sensitivity=_share(tp, tp + fn), specificity=_share(tn, tn + fp),
        positive_predictive_value=_share(tp, tp + fp), negative_predictive_value=_share(tn, tn + fn),
    )  # fmt: skip


def _share(successes: int, trials: int) -> Number | None:
    found = wilson(successes, trials)
    return None if found is None else Number(value=successes / trials, low=found.low, high=found.high)


def _area(parts: Sequence[QuestionSums]) -> Area | None:
    """None unless every site told its counts, its own area and its bins."""
    exact = inside = least = most = likely = 0.0
    for part in parts:
        if part.area is None or part.positives is None or part.negatives is None or not part.bins:
            return None
        exact += part.area * part.positives * part.negatives
        inside += part.positives * part.negatives
    for i, one in enumerate(parts):
        for j, other in enumerate(parts):
            if i != j:
                sure, even, possible = _won(one.bins, other.bins)
                least, likely, most = least + sure, likely + even, most + possible
    positives, negatives = (sum(getattr(part, name) or 0 for part in parts) for name in ("positives", "negatives"))
    pairs = positives * negatives
    low, high = (exact + least) / pairs, (exact + most) / pairs
    ends = _hanley(low, positives, negatives), _hanley(high, positives, negatives)
    return Area(
        value=(exact + likely) / pairs, low=max(0.0, low - Z * ends[0]), high=min(1.0, high + Z * ends[1]),
        least=low, most=high, within_sites=exact / inside,
    )  # fmt: skip


def _won(ones: Sequence[Bin], others: Sequence[Bin]) -> tuple[float, float, float]:
    """Pairs of a positive of the first site and a negative of the second that are won: surely, evenly, at most."""
    sure = even = possible = 0.0
    for one in ones:
        for other in others:
            count = one.positives * other.negatives
            sure += count if one.low >= other.high else 0
            possible += count if one.high > other.low else 0
            even += count * _above(one, other)
    return sure, even, possible


def _above(one: Bin, other: Bin) -> float:
    """How often a value drawn evenly from the one bin lies above one of the other."""

    def area(x: float) -> float:
        inside = min(max(x, other.low), other.high) - other.low
        return inside**2 / (2 * (other.high - other.low)) + max(0.0, x - other.high)

    if one.high <= one.low or other.high <= other.low:
        return 0.5 * ((one.low >= other.high) + (one.high > other.low))
    return (area(one.high) - area(one.low)) / (one.high - one.low)


def _hanley(area: float, positives: int, negatives: int) -> float:
    """Standard error of an area (Hanley and McNeil 1982, Radiology 143:29)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(max(0.0, variance) / (positives * negatives))


def _common_bins(sites: Sequence[Sequence[Bin]]) -> tuple[CalibrationBin, ...]:
    """The finest bins whose edges cut no site's bin; empty unless every site told its bins."""
    if not sites or not all(sites):
        return ()
    ordered = sorted((one for bins in sites for one in bins), key=lambda one: (one.low, one.high))
    groups: list[list[Bin]] = []
    for one in ordered:
        if groups and one.low < max(other.high for other in groups[-1]):
            groups[-1].append(one)
        else:
            groups.append([one])
    found = []
    for group in groups:
        cases = sum(one.positives + one.negatives for one in group)
        found.append(
            CalibrationBin(
                low=group[0].low, high=max(one.high for one in group), cases=cases,
                predicted=sum(one.total for one in group) / cases,
                observed=sum(one.positives for one in group) / cases,
            )
        )  # fmt: skip
    return tuple(found)


def _events(parts: Sequence[EventSums | None]) -> Events | None:
    told = [part for part in parts if part is not None]
    if not told or len(told) < len(parts):
        return None
    won, lost, tied = (sum(getattr(part, name) for part in told) for name in ("concordant", "discordant", "tied"))
    pairs = won + lost + tied
    if not pairs:
        return None
    return Events(
        events=sum(part.events for part in told), pairs=pairs, concordance_within_sites=(won + tied / 2) / pairs
    )
