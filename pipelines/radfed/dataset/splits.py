"""Which split a patient belongs to: a pure function of the patient, so that adding cases moves nobody."""

import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from radfed.settings import Settings

SplitName = Literal["training", "validation", "test"]
DRAWN = "ingest more patients, or try another --split-seed"
"""How an empty split of a drawn kind is mended."""

SPLITS: tuple[SplitName, ...] = ("training", "validation", "test")


class SplitSettings(Settings):
    """Shares of patients kept from training. They hold on average; a small cohort may miss them by a few cases."""

    validation: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.1, description="Share of patients for validation")
    test: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.2, description="Share of patients for the test")
    seed: int = Field(default=0, description="Another seed draws other patients")

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation and test must leave some to train on, got {self.validation} + {self.test}")
        return self


def split_of(patient: str, settings: SplitSettings) -> SplitName:
    """The split of a patient: SHA-256 of seed and patient, read as a number in [0, 1), against the shares."""
    digest = hashlib.sha256(f"{settings.seed}\n{patient}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < settings.test:
        return "test"
    if draw < settings.test + settings.validation:
        return "validation"
    return "training"
