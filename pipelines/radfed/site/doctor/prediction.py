"""What a round will cost this site: the model's size over the link's speed, and the steps over the machine's."""

from pydantic import Field

from radfed.settings import Settings
from radfed.site.doctor.link import Link
from radfed.site.doctor.measurement import Measurement


class Prediction(Settings):
    """A round at this site, in seconds. What could not be measured is empty."""

    model_bytes: int = Field(description="Size of the weights that travel, each way")
    upload_seconds: float
    download_seconds: float
    training_seconds: float | None = None
    evaluation_seconds: float | None = None
    round_seconds: float | None = Field(default=None, description="Download, evaluation, training and upload together")

    @property
    def transfer_seconds(self) -> float:
        """Both ways."""
        return self.upload_seconds + self.download_seconds


def predict(link: Link, measured: Measurement, local_steps: int) -> Prediction:
    """A round of a job at this site.

    Args:
        link: the speed to and from the server.
        measured: the job as it ran here for a few steps.
        local_steps: optimiser steps of a round.
    """
    upload = measured.bytes / link.up_bytes_per_second
    download = measured.bytes / link.down_bytes_per_second
    training = local_steps / measured.steps_per_second if measured.steps_per_second else None
    evaluation = measured.evaluation_seconds
    whole = None if training is None else upload + download + training + (evaluation or 0.0)
    return Prediction(
        model_bytes=measured.bytes,
        upload_seconds=round(upload, 3),
        download_seconds=round(download, 3),
        training_seconds=None if training is None else round(training, 3),
        evaluation_seconds=evaluation,
        round_seconds=None if whole is None else round(whole, 3),
    )
