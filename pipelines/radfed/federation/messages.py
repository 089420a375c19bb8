"""What travels between server and site besides the weights: names of tasks, and numbers checked at both ends."""

from pydantic import Field

from radfed.settings import Settings

TRAIN = "train"
VALIDATE = "validate"
JOB_FILE = "radfed.json"
"""The job's settings, in the ``config/`` folder of the FLARE app."""


class Report(Settings):
    """The numbers that leave a site with an update; no case-level value among them."""

    cases: int = Field(default=0, ge=0, description="Training cases")
    loss: float | None = None
    train_seconds: float = Field(default=0.0, ge=0)
    evaluation_seconds: float = Field(default=0.0, ge=0)
    metric: float | None = Field(default=None, ge=0, le=1)
    metric_cases: int = Field(default=0, ge=0)
