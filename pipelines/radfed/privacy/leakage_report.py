"""The audit's result: what attacks find at each site and together, and what the gate says to it."""

import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from scipy.special import ndtri

from radfed.dataset.layout import Digest
from radfed.metrics.membership import Group, allowed_of, by_chance, curve_of, pooled_area, share_interval
from radfed.metrics.roc import Auroc, auroc_interval
from radfed.privacy.inversion_report import Inversion
from radfed.privacy.leakage_policy import RULE, LeakagePolicy, Verdict
from radfed.privacy.leakage_sums import AttackSums, Patients, SiteLeakage
from radfed.settings import Settings

RATES = tuple(float(rate) for rate in np.logspace(-3, 0, 31))
"""False-positive rates of the curves."""


class Estimate(Settings):
    """A number with its interval."""

    value: float
    low: float
    high: float


class TruePositives(Settings):
    """How many members stand above the threshold that few non-members reach."""

    rate: Estimate = Field(description="Share of the members, with its exact interval at this threshold")
    at_most: bool = Field(description="Whether the true number is smaller by one or two patients, which is not told")
    false_positives: int = Field(description="Non-members that the sites' thresholds allow, in all")
    resolution: float = Field(description="Smallest false-positive rate above 0 that this many non-members can show")
    by_chance: float = Field(description="Rate to be expected if membership were drawn by lot")
    p: float = Field(description="Probability of as many hits by lot")


class AttackFound(Settings):
    """What one attack finds."""

    auc: Estimate = Field(description="Share of pairs of a member and a non-member of one site that it orders rightly")
    true_positives: TruePositives
    gap: Estimate = Field(description="Mean score of members minus that of non-members of their site")
    curve: tuple[float, ...] = Field(
        description="True-positive rates at false-positive rates from 0.001 to 1, log scale"
    )


class Found(Settings):
    """What the attacks find at a site, or at all."""

    members: Patients
    others: Patients
    best: str = Field(description="The attack with the largest AUC")
    attacks: dict[str, AttackFound]


class Leakage(Settings):
    """``leakage.json``: aggregates of patients only; made for being passed on with the model."""

    version: int = Field(default=1, ge=1, le=1)
    model: Digest = Field(description="SHA-256 of the weights")
    task: str
    task_digest: Digest
    phantom: bool = Field(default=False, description="Whether any of the data was made up")
    policy: LeakagePolicy
    rule: str = RULE
    verdict: Verdict
    reasons: tuple[str, ...] = Field(description="Why the verdict is no pass, or what else it rests on")
    pooled: Found | None
    sites: dict[str, Found]
    silent: tuple[str, ...] = Field(description="Sites with too few patients of either kind, or that were not audited")
    shadows: int = Field(default=0, description="Models trained for the attack 'lira'; 0 if it was not tried")
    inversion: Inversion | None = Field(default=None, description="What updates give away; not part of the gate")

    @model_validator(mode="after")
    def _says_what_it_shows(self) -> Self:
        verdict, reasons = judge(self.policy, self.pooled, self.sites, self.silent)
        if (verdict, reasons) != (self.verdict, self.reasons):
            raise ValueError(f"the verdict must follow from the numbers: {verdict}, got {self.verdict}")
        return self


def pool_leakage(
    reports: Mapping[str, SiteLeakage], trained: Sequence[str] = (), phantom: bool = False, shadows: int = 0,
    inversion: Inversion | None = None,
) -> Leakage:  # fmt: skip
    """The audit of all sites, from what each told.

    Args:
        reports: by site, at least one, all of one model under one policy.
        trained: sites that took part in training; one without a report counts as silent.
        phantom: whether any of the data was made up, beside what the reports say of theirs.
        shadows: models that were trained for the attack ``lira``.
        inversion: what updates give away, if that was tried.

    Raises:
        ValueError: there is no report, or two are of different models, tasks or policies.
    """
    if not reports:
        raise ValueError("no site reported")
    first = next(iter(reports.values()))
    about = ("model", "task", "task_digest", "policy")
    for site, report in reports.items():
        different = [key for key in about if getattr(report, key) != getattr(first, key)]
        if different:
            raise ValueError(f"{site}: reports on another {' and '.join(different)} than the other sites")
    given = {site: report for site, report in sorted(reports.items()) if report.members is not None}
    silent = tuple(sorted((set(reports) | set(trained)) - set(given)))
    pooled = _found(list(given.values()), first.policy) if given else None
    sites = {site: _found([report], first.policy) for site, report in given.items()}
    phantom = phantom or any(report.phantom for report in reports.values())
    verdict, reasons = judge(first.policy, pooled, sites, silent)
    return Leakage(
        model=first.model, task=first.task, task_digest=first.task_digest, phantom=phantom, policy=first.policy,
        verdict=verdict, reasons=reasons, pooled=pooled, sites=sites, silent=silent, shadows=shadows,
        inversion=inversion,
    )  # fmt: skip


def judge(
    policy: LeakagePolicy, pooled: Found | None, sites: Mapping[str, Found], silent: Sequence[str]
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict by ``leakage_policy.RULE``, and why."""
    places: dict[str, Found] = {"all sites": pooled, **sites} if pooled is not None else dict(sites)
    # Hits of many attacks at many places are counted: the probability that chance gives so many anywhere is shared out.
    tests: int = sum(len(found.attacks) for found in places.values())
    least = (1 - policy.level) / 2 / max(1, tests)
    wrong = [reason for place, found in places.items() for reason in _faults(policy, place, found, least)]
    if wrong:
        return "fail", tuple(wrong)
    if pooled is None:
        return "inconclusive", ("no site has enough patients of both kinds to say anything",)
    unsure = [f"{site} was not audited, or has too few patients to say anything" for site in silent]
    if min(pooled.members, pooled.others) < policy.least_patients:
        unsure.append(
            f"{pooled.members} members and {pooled.others} others are too few: the policy wants "
            f"{policy.least_patients} of either"
        )
    unsure += [
        f"{attack}: an AUC of up to {found.auc.high:.2f} cannot be excluded, tolerated is {policy.auc_tolerated:.2f}"
        for attack, found in pooled.attacks.items()
        if found.auc.high > policy.auc_tolerated
    ]
    return ("inconclusive", tuple(unsure)) if unsure else ("pass", ())


def _faults(policy: LeakagePolicy, place: str, found: Found, least: float) -> list[str]:
    faults = []
    for name, attack in found.attacks.items():
        area, share = attack.auc, attack.true_positives
        if area.low > policy.auc_limit:
            faults.append(
                f"{place}, {name}: attack AUC {area.value:.2f} (interval {area.low:.2f} to {area.high:.2f}) lies above "
                f"{policy.auc_limit:.2f}"
            )
        if share.rate.low > policy.tpr_limit and share.p < least:
            faults.append(
                f"{place}, {name}: {share.rate.value:.0%} of the members stand out at {share.false_positives} false "
                f"positives of {found.others} (interval from {share.rate.low:.0%}, by chance {share.by_chance:.0%}), "
                f"above {policy.tpr_limit:.0%}"
            )
    return faults


def _found(reports: Sequence[SiteLeakage], policy: LeakagePolicy) -> Found:
    """One site's, or several sites' together; attacks that all of them tried."""
    groups = [
        Group(report.members, report.others, allowed_of(report.others, policy.false_positive_rate))
        for report in reports
        if report.members is not None and report.others is not None
    ]
    names = [name for name in reports[0].attacks if all(name in report.attacks for report in reports)]
    attacks = {name: _attack([report.attacks[name] for report in reports], groups, policy) for name in names}
    return Found(
        members=sum(group.members for group in groups),
        others=sum(group.others for group in groups),
        best=max(names, key=lambda name: attacks[name].auc.value),
        attacks=attacks,
    )


def _attack(sums: Sequence[AttackSums], groups: Sequence[Group], policy: LeakagePolicy) -> AttackFound:
    area = pooled_area(
        [Auroc(one.auc, one.variance, group.members, group.others) for one, group in zip(sums, groups, strict=True)]
    )
    bounds = auroc_interval(area, policy.level)
    assert bounds is not None  # every site has two patients of either kind
    return AttackFound(
        auc=Estimate(value=area.value, low=bounds.low, high=bounds.high),
        true_positives=_true_positives(sums, groups, policy),
        gap=_gap(sums, groups, policy),
        curve=tuple(float(rate) for rate in curve_of([one.runs for one in sums], np.array(RATES))),
    )


def _true_positives(sums: Sequence[AttackSums], groups: Sequence[Group], policy: LeakagePolicy) -> TruePositives:
    hits, members = sum(one.hits for one in sums), sum(group.members for group in groups)
    # What is told as "at most" may be no hit at all at such a site: chance is asked about the least it can be.
    surely = sum(max(0, one.hits - 2) if one.at_most else one.hits for one in sums)
    bounds, law = share_interval(surely, members, policy.level), by_chance(groups)
    top = share_interval(hits, members, policy.level)
    return TruePositives(
        rate=Estimate(value=hits / members, low=bounds.low, high=top.high),
        at_most=any(one.at_most for one in sums),
        false_positives=sum(group.allowed for group in groups),
        resolution=1 / sum(group.others for group in groups),
        by_chance=float(law @ np.arange(len(law))) / members,
        p=min(1.0, float(law[surely:].sum())),
    )


def _gap(sums: Sequence[AttackSums], groups: Sequence[Group], policy: LeakagePolicy) -> Estimate:
    """The sites' differences, weighted as if patients vary equally everywhere; Welch's error, normal bounds."""
    weights = np.array([group.members * group.others / (group.members + group.others) for group in groups])
    weights /= weights.sum()
    gaps = np.array([one.members.mean - one.others.mean for one in sums])
    variances = np.array(
        [
            one.members.deviation**2 / group.members + one.others.deviation**2 / group.others
            for one, group in zip(sums, groups, strict=True)
        ]
    )
    value, reach = float(weights @ gaps), float(ndtri((1 + policy.level) / 2)) * math.sqrt(weights**2 @ variances)
    return Estimate(value=value, low=value - reach, high=value + reach)
