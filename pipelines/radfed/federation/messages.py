"""What travels between server and site besides the weights: names of tasks, and numbers checked at both ends."""

from typing import Literal

from pydantic import Field

from radfed.ledger import PrivacySpent
from radfed.metrics.pooling import MOST_CASES, MOST_PAIRS
from radfed.settings import Settings

TRAIN, VALIDATE, TEST = "train", "validate", "test"
TASKS = (TRAIN, VALIDATE, TEST)
LEDGER_TOPIC = "radfed.ledger"
"""FLARE app command by which the server's ledger is read while the job runs."""
REASON = "radfed_reason"
"""Header of an error reply: why, as a code."""
ASK = "ask"
"""The one task of a job that asks about a release."""
SIGNED = "signed"
"""Beside the numbers of an answer: the same, signed by the site; JSON text of ``radfed.signatures.Signed``."""


class Report(Settings):
    """The numbers that leave a site with an update; no case-level value among them."""

    # Bounds: one site's number must not decide a round, nor overflow what is computed from it.
    cases: int = Field(default=0, ge=0, le=MOST_CASES, description="Training cases")
    loss: float | None = Field(default=None, ge=-1e6, le=1e6)
    train_seconds: float = Field(default=0.0, ge=0, le=1e7)
    evaluation_seconds: float = Field(default=0.0, ge=0, le=1e7)
    metric: float | None = Field(default=None, ge=0, le=1, description="See radfed.training.trainer.Validated")
    metric_cases: int = Field(default=0, ge=0, le=MOST_PAIRS, description="Cases; pairs of a concordance")
    restarts: int = Field(default=0, ge=0, le=1000)
    optimiser: Literal["kept", "fresh"] | None = None
    privacy: PrivacySpent | None = None
