"""What a site tells of an audit at home: ranks and sums of its patients, nothing of one or two of them."""

from collections.abc import Collection, Mapping
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from radfed.dataset.layout import Digest
from radfed.metrics.membership import allowed_of, area_of, hits_of, runs_of, tellable_hits
from radfed.metrics.pooling import MOST_CASES
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.privacy.leakage_policy import LeakagePolicy
from radfed.privacy.leakage_scores import Scores
from radfed.settings import Settings

Patients = Annotated[int, Field(ge=LEAST_PATIENTS, le=MOST_CASES)]
Told = Annotated[int, Field(ge=0, le=MOST_CASES)]


class Mean(Settings):
    """Mean and standard deviation over patients."""

    mean: float
    deviation: Annotated[float, Field(ge=0)]


class AttackSums(Settings):
    """One attack at one site. Scores are higher for patients who look trained on."""

    auc: Annotated[float, Field(ge=0, le=1)]
    variance: Annotated[float, Field(ge=0, le=1)] = Field(description="Of the AUC, after DeLong")
    hits: Told = Field(description="Members above all but the allowed non-members")
    at_most: bool = Field(description="Whether the true number may be one or two smaller, which is not told")
    runs: tuple[tuple[Told, Told], ...] = Field(
        max_length=MOST_CASES, description="Members and non-members in runs of falling score, each 0 or at least 3"
    )
    members: Mean
    others: Mean

    @model_validator(mode="after")
    def _hides_the_few(self) -> Self:
        if any(0 < count < LEAST_PATIENTS for run in self.runs for count in run):
            raise ValueError(f"a run must hold none or at least {LEAST_PATIENTS} patients of a kind, got {self.runs}")
        return self


class SiteLeakage(Settings):
    """What may leave a site after an audit; without enough patients of either kind only that."""

    model: Digest = Field(description="SHA-256 of the weights")
    task: str
    task_digest: Digest
    phantom: bool = Field(default=False, description="Whether the site's data are made up")
    policy: LeakagePolicy
    members: Patients | None = Field(description="Patients of the training split; null if there are too few")
    others: Patients | None = Field(description="Patients of the splits that the policy takes for non-members")
    attacks: dict[str, AttackSums] = Field(max_length=20)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if (self.members is None) != (self.others is None) or (self.members is None) != (not self.attacks):
            raise ValueError("members, others and attacks must be there together, or none of them")
        for name, sums in self.attacks.items():
            told = tuple(sum(run[kind] for run in sums.runs) for kind in (0, 1))
            if told != (self.members, self.others) or sums.hits > told[0]:
                raise ValueError(f"{name}: runs and hits must be of {self.members} and {self.others} patients")
        return self


def sums_of(
    scores: Mapping[str, Mapping[str, float]], members: Collection[str], others: Collection[str], rate: float
) -> tuple[int | None, int | None, dict[str, AttackSums]]:
    """Members, others and every attack's sums, of a site's patients.

    Args:
        scores: of each attack, one a patient.
        members: patients of the training split.
        others: patients that were not trained on.
        rate: false-positive rate of the threshold.
    """
    if min(len(members), len(others)) < LEAST_PATIENTS:
        return None, None, {}
    found = {}
    for attack, by_patient in scores.items():
        inside, outside = (np.array([by_patient[one] for one in sorted(who)]) for who in (members, others))
        found[attack] = _attack(inside, outside, rate)
    return len(members), len(others), found


def _attack(members: Scores, others: Scores, rate: float) -> AttackSums:
    area = area_of(members, others)
    # There are three finite scores of either kind.
    assert area is not None
    assert area.variance is not None
    hits, at_most = tellable_hits(hits_of(members, others, allowed_of(len(others), rate)), len(members))
    return AttackSums(
        auc=area.value, variance=area.variance, hits=hits, at_most=at_most, runs=runs_of(members, others),
        members=_mean(members), others=_mean(others),
    )  # fmt: skip


def _mean(values: Scores) -> Mean:
    return Mean(mean=float(values.mean()), deviation=float(values.std(ddof=1)))
