"""What a site tells of masks, and what all sites' masks are worth together."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from radfed.metrics.pooling import MOST_CASES
from radfed.metrics.sums import MeanSums, PooledMean, pooled_mean
from radfed.settings import Settings

MOST_LABELS = 1000
Count = Annotated[int, Field(ge=0, le=MOST_CASES * MOST_LABELS)]
_REACH = 1.96


class OutcomeCounts(Settings):
    """How many masks were of each outcome, see ``radfed.metrics.policy``."""

    compared: Count
    both_empty: Count
    false_positives: Count
    missed: Count


class LabelSums(Settings):
    """One label's values, or each case's mean over labels; null where they are of too few patients to be told."""

    dice: MeanSums | None
    hd95: MeanSums | None = Field(description="mm")
    nsd: MeanSums | None
    counts: OutcomeCounts | None


class VolumeSums(Settings):
    """Volumes of one label (ml), of cases where either mask holds it."""

    reference: MeanSums
    difference: MeanSums = Field(description="Prediction minus reference")


class MaskSums(Settings):
    """A site's masks beside their references."""

    mean: LabelSums
    labels: dict[str, LabelSums] = Field(max_length=MOST_LABELS)
    volumes: dict[str, VolumeSums | None] = Field(max_length=MOST_LABELS)


class LabelScores(Settings):
    """The three metrics over cases; null where a site held its sums back. HD95 in mm."""

    dice: PooledMean | None
    hd95: PooledMean | None
    nsd: PooledMean | None
    counts: OutcomeCounts | None


class MaskGroup(Settings):
    """The cases of a site, or of all."""

    cases: int
    patients: int
    mean: LabelScores
    labels: dict[str, LabelScores]


class VolumeAgreement(Settings):
    """Prediction minus reference over cases (ml), with 95 % limits of agreement (Bland and Altman 1986)."""

    bias_ml: float
    low_ml: float
    high_ml: float
    deviation_ml: float
    mean_reference_ml: float
    cases: int
    patients: int


def pool_masks(sites: Sequence[MaskSums], cases: int, patients: int) -> MaskGroup:
    """The masks of one or more sites together.

    Args:
        sites: what each tells.
        cases: how many there are in all.
        patients: the same.
    """
    return MaskGroup(
        cases=cases,
        patients=patients,
        mean=_pool_label([site.mean for site in sites]),
        labels={name: _pool_label([site.labels[name] for site in sites]) for name in sites[0].labels},
    )


def pool_volumes(sites: Sequence[MaskSums]) -> Mapping[str, VolumeAgreement]:
    """Agreement of volumes by label, of those that all sites told."""
    found = {}
    for name in sites[0].volumes:
        told = [site.volumes[name] for site in sites]
        difference = pooled_mean([None if one is None else one.difference for one in told])
        reference = pooled_mean([None if one is None else one.reference for one in told])
        if difference is None or reference is None or difference.deviation is None:
            continue
        reach = _REACH * difference.deviation
        found[name] = VolumeAgreement(
            bias_ml=difference.mean, low_ml=difference.mean - reach, high_ml=difference.mean + reach,
            deviation_ml=difference.deviation, mean_reference_ml=reference.mean, cases=difference.cases,
            patients=difference.patients,
        )  # fmt: skip
    return found


def _pool_label(parts: Sequence[LabelSums]) -> LabelScores:
    counts = [part.counts for part in parts]
    told = [count for count in counts if count is not None]
    together = None
    if told and len(told) == len(counts):
        together = OutcomeCounts(
            **{name: sum(getattr(count, name) for count in told) for name in OutcomeCounts.model_fields}
        )
    return LabelScores(
        dice=pooled_mean([part.dice for part in parts], 0, 1),
        hd95=pooled_mean([part.hd95 for part in parts], 0, math.inf),
        nsd=pooled_mean([part.nsd for part in parts], 0, 1),
        counts=together,
    )
