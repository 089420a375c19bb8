"""The operating point of a release: thresholds that were fixed on validation cases, and never on those that score."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from radfed.errors import GateError
from radfed.inference.checksums import read_sums
from radfed.inference.opened import listed_file
from radfed.settings import Settings
from radfed.task import Fraction, MultiClass, MultiLabel, OperatingPoint, OutcomeTask

OPERATING = "evaluation/operating_point.json"
"""In a release."""


class OperatingThresholds(Settings):
    """``operating_point.json``: from which probability on the model says yes."""

    model: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = Field(description="SHA-256 of the model's weights")
    rule: OperatingPoint = Field(description="How the thresholds were found, as the contract says")
    thresholds: dict[str, Fraction] = Field(description="By the name of the positive class, or of a finding")
    cases: dict[str, int] = Field(description="Validation cases behind each threshold")


def read_thresholds(release: Path, weights_digest: str) -> dict[str, float]:
    """The thresholds that a release states; none for a bare ``.onnx`` file, or a release without them.

    Raises:
        InvalidInputError: the file cannot be read.
        GateError: it is not the one that the release lists, or of another model.
    """
    if not release.is_dir() or OPERATING not in read_sums(release):
        return {}
    stated = OperatingThresholds.read(listed_file(release, OPERATING))
    if stated.model != weights_digest:
        raise GateError(f"{OPERATING} is of another model ({stated.model[:12]}); get the release again")
    return dict(stated.thresholds)


def threshold_columns(task: OutcomeTask) -> dict[str, int]:
    """Which outputs are compared with a threshold: their places by name."""
    match task.outcome:
        case MultiClass(classes=classes):
            return {classes[1]: 1} if len(classes) == 2 else {}
        case MultiLabel(findings=findings):
            return {name: index for index, name in enumerate(findings)}
        case _:
            return {}
