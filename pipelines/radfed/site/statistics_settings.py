"""How careful a site is with statistics of its data."""

from typing import Annotated

from pydantic import Field

from radfed.settings import Settings

LEAST_COUNT = 3


class StatisticsSettings(Settings):
    """Part of ``site.yaml``: what a fingerprint may tell."""

    min_count: Annotated[int, Field(ge=LEAST_COUNT, le=10**6)] = Field(
        default=5, description="Patients that must be behind every number; smaller counts do not leave"
    )
    noise: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.0, description="Scale of the Laplace noise on every count, in patients; 0 adds none"
    )
