"""The record of a case as its network sees it: numbers scaled, categories one-hot, missing values as such."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.task import CategoricalCovariate, NumericCovariate, OutcomeTask


def encode(covariates: Mapping[str, float | str], task: OutcomeTask) -> NDArray[np.float32]:
    """A record as numbers, covariate by covariate in the task's order.

    A number becomes ``(value - mean) / deviation`` and an indicator that is 1 where it is missing; the scaled value is
    0 then, as if it were the mean. A category becomes one-hot over its values, and a last number that is 1 where it is
    missing.

    Args:
        covariates: by name, in the task's units; what is missing is not there.
        task: the contract.

    Returns:
        float32 ``(task.width,)``.

    Raises:
        DataError: ``not_a_number`` or ``unknown_value``; the message shows no value.
    """
    known = {covariate.name for covariate in task.covariates}
    foreign = sorted(set(covariates) - known)
    if foreign:
        raise DataError("unknown_value", f"the task has no covariate {', '.join(foreign)}")
    numbers: list[float] = []
    for covariate in task.covariates:
        value = covariates.get(covariate.name)
        if isinstance(covariate, NumericCovariate):
            numbers += _numeric(covariate, value)
        else:
            numbers += _categorical(covariate, value)
    return np.array(numbers, dtype=np.float32)


def _numeric(covariate: NumericCovariate, value: float | str | None) -> tuple[float, float]:
    if value is None:
        return 0.0, 1.0
    scaled = math.nan if isinstance(value, str) else (value - covariate.mean) / covariate.deviation
    if not abs(scaled) <= float(np.finfo(np.float32).max):
        raise DataError("not_a_number", f"{covariate.name} must be a finite number")
    return scaled, 0.0


def _categorical(covariate: CategoricalCovariate, value: float | str | None) -> list[float]:
    if value is not None and value not in covariate.values:
        raise DataError("unknown_value", f"{covariate.name} must be one of: {', '.join(covariate.values)}")
    return [*(float(value == known) for known in covariate.values), float(value is None)]
