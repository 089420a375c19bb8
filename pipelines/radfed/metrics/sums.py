"""Sums over a site's cases from which mean, deviation and interval over all sites follow, as if they were in one place.

The interval is the normal approximation for a mean over cases whose patients are drawn within sites: the linearised
ratio estimator of stratified cluster sampling (Cochran 1977, Sampling Techniques, 3rd ed., section 6.13). It needs no
case, only what a patient's cases add up to, squared and added again.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from radfed.metrics.pooling import MOST_CASES, Z
from radfed.metrics.small_cells import LEAST_PATIENTS, Patients
from radfed.settings import Settings

INTERVALS = {"level": 0.95, "method": "normal approximation from sums", "unit": "patient, within site"}
"""How intervals are made, for ``metrics.json``."""
LEAST_FOR_INTERVAL = 5
"""Patients; the same as where cases are in one place."""
Sum = Annotated[float, Field(ge=-1e15, le=1e15)]
Squares = Annotated[float, Field(ge=0, le=1e18)]
_SLACK = 1e-6


class PatientSums(Settings):
    """Over patients with several cases each; of very few patients these could be solved for the values of each."""

    squares: Squares = Field(description="Sum of the squares of each patient's sum of values")
    products: Sum = Field(description="Sum of each patient's sum of values times the number of cases")
    cases: int = Field(ge=LEAST_FOR_INTERVAL, description="Sum of the squares of each patient's number of cases")


class MeanSums(Settings):
    """One value a case, over a site's cases that have it."""

    cases: int = Field(ge=LEAST_PATIENTS, le=MOST_CASES)
    patients: int = Field(ge=LEAST_PATIENTS, le=MOST_CASES)
    total: Sum = Field(description="Sum of the values")
    squares: Squares = Field(description="Sum of their squares")
    by_patient: "PatientSums | None" = Field(
        default=None, description="Null where every patient has one case, or where there are too few patients"
    )

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        slack = _SLACK * (1 + self.squares)
        if self.patients > self.cases or self.total**2 > self.cases * (self.squares + slack):
            raise ValueError(f"no {self.cases} values add up to {self.total} with squares {self.squares}")
        return self

    @classmethod
    def of(cls, values: NDArray[np.float64], patients: Patients) -> Self | None:
        """Sums of the values ``(N,)`` of patients ``(N,)``; None of too few patients to be told."""
        _, place = np.unique(patients, return_inverse=True)
        each, count = np.bincount(place, values), np.bincount(place)
        if len(count) < LEAST_PATIENTS:
            return None
        by_patient = None
        if LEAST_FOR_INTERVAL <= len(count) < len(values):
            by_patient = PatientSums(
                squares=float((each**2).sum()), products=float((each * count).sum()), cases=int((count**2).sum())
            )
        return cls(
            cases=len(values), patients=len(count), total=float(values.sum()), squares=float((values**2).sum()),
            by_patient=by_patient,
        )  # fmt: skip


class PooledMean(Settings):
    """A mean over the cases of one or more sites. There is no median: it does not follow from sums."""

    mean: float
    low: float | None = Field(description="Of the 95 % interval, by the normal approximation; null of few patients")
    high: float | None
    median: None = None
    deviation: float | None = Field(description="Sample standard deviation over cases")
    cases: int
    patients: int


def pooled_mean(parts: Sequence[MeanSums | None], low: float = -math.inf, high: float = math.inf) -> PooledMean | None:
    """The mean over all sites' cases; None if a site held its sums back: the others would be chosen ones.

    Args:
        parts: of each site.
        low: least value that there is; the interval ends there.
        high: largest.
    """
    told = [part for part in parts if part is not None]
    if not told or len(told) < len(parts):
        return None
    cases, patients = sum(part.cases for part in told), sum(part.patients for part in told)
    mean = sum(part.total for part in told) / cases
    spread = max(0.0, sum(part.squares for part in told) - cases * mean**2) / (cases - 1)
    variances = [variance for part in told if (variance := _variance(part, mean)) is not None]
    reach = Z * math.sqrt(sum(variances)) / cases
    enough = patients >= LEAST_FOR_INTERVAL and len(variances) == len(told)
    return PooledMean(
        mean=mean, low=max(low, mean - reach) if enough else None, high=min(high, mean + reach) if enough else None,
        deviation=math.sqrt(spread), cases=cases, patients=patients,
    )  # fmt: skip


def _variance(part: MeanSums, mean: float) -> float | None:
    """Of the sum of a site's values less the mean, with its patients drawn anew; None where it was not told."""
    if part.patients == part.cases:
        squares, products, cases = part.squares, part.total, part.cases
    elif part.by_patient is not None:
        squares, products, cases = part.by_patient.squares, part.by_patient.products, part.by_patient.cases
    else:
        return None
    residuals = squares - 2 * mean * products + mean**2 * cases
    centred = residuals - (part.total - mean * part.cases) ** 2 / part.patients
    return max(0.0, centred) * part.patients / (part.patients - 1)
