"""What a site lets run without asking: by default nothing. Part of ``site.yaml``."""

import re
from datetime import date
from typing import Annotated

from pydantic import Field, field_validator

from radfed.job import Purpose
from radfed.settings import Settings
from radfed.task import PositiveInt


class StandingApproval(Settings):
    """A rule by which a job is approved without a person. What is not set, any job fulfils."""

    jobs: Annotated[str, Field(min_length=1)] = Field(
        description="Regular expression that the whole name of the job must match"
    )
    purposes: Annotated[tuple[Purpose, ...], Field(min_length=1)] = Field(
        default=("training",),
        description="What the job may be for: to train, describe data, or ask about a release",
    )
    networks: tuple[str, ...] | None = Field(default=None, description="Names of networks, for example UNet")
    max_rounds: PositiveInt | None = Field(default=None, description="Largest number of rounds of a campaign")
    max_bytes: PositiveInt | None = Field(default=None, description="Most that may leave in a whole campaign (bytes)")
    until: date | None = Field(default=None, description="Last day on which the rule holds, YYYY-MM-DD")

    @field_validator("jobs")
    @classmethod
    def _is_expression(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"must be a regular expression: {error}, got {text!r}") from error
        return text


class PrivacyDemand(Settings):
    """What a training must not cost a patient of the site; see ``training.privacy`` of a job."""

    epsilon: Annotated[float, Field(gt=0)] = Field(description="Largest budget of a job")
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-5, description="Largest delta of a job")


class ApprovalSettings(Settings):
    """Whether a person at the site has to approve a job before anything of it runs."""

    required: bool = Field(default=True, description="Refuse every job whose digest nobody at the site approved")
    standing: tuple[StandingApproval, ...] = Field(default=(), description="Rules that approve a job without a person")
    require_privacy: PrivacyDemand | None = Field(
        default=None, description="Refuse every training without differential privacy within this, whoever approved it"
    )
