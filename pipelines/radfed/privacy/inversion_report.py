"""What gradient inversion got back from a site's updates, as numbers over several batches; pictures never leave."""

from typing import Annotated, Literal

from pydantic import Field

from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.settings import Settings


class Reconstruction(Settings):
    """How like the training inputs what an attacker computed from what a site sends is, over several attacks.

    The baseline is the mean of other training inputs: what somebody guesses who saw no update.
    """

    seen: Literal["gradient of one case", "update of a round"]
    batch: int = Field(ge=1, description="Training inputs behind what was attacked")
    steps: int = Field(ge=1, description="Optimiser steps behind it")
    attacks: Annotated[int, Field(ge=LEAST_PATIENTS)] = Field(description="How many were made; figures are means")
    error: float = Field(ge=0, description="Root of the mean squared error over that of the baseline: 1 is no gain")
    psnr: float = Field(description="Peak signal-to-noise ratio (dB), of the range of the true input")
    psnr_baseline: float = Field(description="The same of the baseline (dB)")
    ssim: float | None = Field(description="Structural similarity (Wang et al. 2004); null for records")
    ssim_baseline: float | None = Field(description="The same of the baseline")
    better: float = Field(ge=0, le=1, description="Share of the attacks that came closer than the baseline")


class Inversion(Settings):
    """Both views of an honest but curious server; labels are known to it, which is the worst case."""

    iterations: int = Field(ge=1, description="Of the attacker's optimiser")
    private: bool = Field(description="Whether the updates were made with differential privacy, as the job says")
    found: tuple[Reconstruction, ...]
