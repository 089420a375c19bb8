"""The sites' test scores pooled on the server: means and intervals from sums, without any case's own value."""

import math
from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from radfed.settings import Settings

MOST_CASES = 1_000_000
"""More than a site can have; a report that says more is refused."""
MOST_PAIRS = MOST_CASES * (MOST_CASES - 1) // 2
"""Of that many cases: what a concordance is at most the mean of."""

_SLACK = 1e-6
Z = 1.959963984540054
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""


class LabelScores(Settings):
    """One measured value over a site's test cases, as sums: what pooling needs and no more."""

    total: float = Field(ge=0, le=MOST_CASES, description="Sum of the cases' values, each from 0 to 1")
    squares: float = Field(ge=0, le=MOST_CASES, description="Sum of their squares")


class TestReport(Settings):
    """A site's scores of the final model on its test cases. Fewer cases than the site reports: none."""

    __test__ = False  # no test class, whatever pytest makes of the name

    cases: int = Field(ge=0, le=MOST_CASES)
    labels: dict[str, LabelScores] = Field(
        default_factory=dict,
        max_length=1000,
        description="By what the task measures: a Dice for each label; accuracy and 1 - Brier score; concordance",
    )

    @model_validator(mode="after")
    def _are_of_cases(self) -> Self:
        for sums in self.labels.values():
            if sums.total > self.cases + _SLACK or sums.squares > sums.total + _SLACK:
                raise ValueError(
                    f"no {self.cases} values from 0 to 1 add up to {sums.total} with squares {sums.squares}"
                )
        return self


class Score(Settings):
    """A mean over cases with their standard deviation and the normal 95 % interval of the mean."""

    cases: int
    mean: float
    deviation: float | None = Field(description="Null for a single case")
    low: float | None
    high: float | None


class FederatedEvaluation(Settings):
    """What the final model scores on the sites' test cases: pooled and by site, by what the task measures.

    Of segmentation that is a Dice for each label, on the network's grid.
    """

    model: str = Field(description="SHA-256 of the model's weights")
    pooled: dict[str, Score]
    sites: dict[str, dict[str, Score]]
    silent: tuple[str, ...] = Field(description="Sites that gave no score")


def pool(model: str, reports: Mapping[str, TestReport | None]) -> FederatedEvaluation:
    """Pool the reports of the sites that were asked; a site without cases or answer counts as silent.

    A value that one of them held back is not pooled: its mean over the others would be of chosen sites.
    """
    given = {site: report for site, report in sorted(reports.items()) if report is not None and report.cases > 0}
    labels = set.intersection(*(set(report.labels) for report in given.values())) if given else set()
    pooled = {
        label: _score(
            sum(report.cases for report in given.values()),
            sum(report.labels[label].total for report in given.values()),
            sum(report.labels[label].squares for report in given.values()),
        )
        for label in sorted(labels)
    }
    sites = {
        site: {label: _score(report.cases, s.total, s.squares) for label, s in sorted(report.labels.items())}
        for site, report in given.items()
    }
    return FederatedEvaluation(model=model, pooled=pooled, sites=sites, silent=tuple(sorted(set(reports) - set(given))))


def _score(cases: int, total: float, squares: float) -> Score:
    mean = total / cases
    if cases < 2:
        return Score(cases=cases, mean=mean, deviation=None, low=None, high=None)
    variance = max(0.0, (squares - cases * mean**2) / (cases - 1))
    half = Z * math.sqrt(variance / cases)
    return Score(cases=cases, mean=mean, deviation=math.sqrt(variance), low=mean - half, high=mean + half)
