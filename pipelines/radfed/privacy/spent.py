"""What a training has cost its patients' privacy, as ``privacy.json`` of a run says it."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field

from radfed.job import Job
from radfed.ledger import PrivacySpent, SiteLine
from radfed.settings import Settings

PRIVACY_FILE = "privacy.json"
NOT_COVERED = (
    "the patients of the validation and test splits: their scores are sent without noise, and the best round is chosen "
    "by those of validation",
    "the numbers of cases, and of patients as far as the sampling rate tells them",
    "how long training took, and whether and why it failed",
    "trainings beside this one, on the same patients: the epsilons of all of them add up",
    "persons who are patients of several sites: their epsilons add up",
    "a site that runs other code than radfed's: each site says itself what it has spent",
)


class PrivacyRecord(Settings):
    """Differential privacy of a run, by site. Two datasets are neighbours if they differ by one patient of a site."""

    unit: Literal["patient"] = "patient"
    neighbours: Literal["one patient of a site, added or removed"] = "one patient of a site, added or removed"
    mechanism: Literal["DP-SGD: Poisson-sampled patients, clipped gradients, Gaussian noise"] = (
        "DP-SGD: Poisson-sampled patients, clipped gradients, Gaussian noise"
    )
    accountant: Literal["rdp"] = Field(default="rdp", description="Opacus' RDPAccountant")
    budget: float | None = Field(description="Epsilon beyond which a site sends nothing; null: none was set")
    sites: dict[str, PrivacySpent] = Field(description="What each site said when it was last heard of")
    worst_site: str | None = Field(description="The site with the largest epsilon; null if none has spent any")
    worst_epsilon: float | None
    delta: float
    not_covered: tuple[str, ...] = NOT_COVERED

    @classmethod
    def of(cls, job: Job, lines: Iterable[SiteLine]) -> Self | None:
        """The record of a run; None for a job without differential privacy.

        An answer counts whether it was accepted or not: it has left its site.
        """
        settings = job.job.training.privacy
        if settings is None:
            return None
        sites: dict[str, PrivacySpent] = {}
        for line in lines:
            known = sites.get(line.site)
            if line.privacy is not None and (known is None or line.privacy.epsilon >= known.epsilon):
                sites[line.site] = line.privacy
        worst = max(sites, key=lambda site: sites[site].epsilon, default=None)
        return cls(
            budget=settings.epsilon,
            sites=dict(sorted(sites.items())),
            worst_site=worst,
            worst_epsilon=None if worst is None else sites[worst].epsilon,
            delta=settings.delta,
        )
