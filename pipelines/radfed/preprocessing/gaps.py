"""Encoded records for models that take a missing number as missing."""

import numpy as np
from numpy.typing import NDArray

from radfed.task import NumericCovariate, OutcomeTask


def with_gaps(records: NDArray[np.float32], task: OutcomeTask) -> NDArray[np.float32]:
    """Encoded records with NaN where a number is missing.

    A network cannot take NaN and sees the mean instead, beside an indicator. A tree can: it learns for each split to
    which side missing values go. With the mean they would go wherever patients with an average value go. The indicator
    stays, so that a tree can also ask for it alone; a missing category has a column of its own anyway.

    Args:
        records: ``(B, width)`` of ``radfed.preprocessing.records.encode``.
        task: the contract.

    Returns:
        A copy, ``(B, width)``.
    """
    found = records.copy()
    place = 0
    for covariate in task.covariates:
        if isinstance(covariate, NumericCovariate):
            found[records[:, place + 1] > 0, place] = np.nan
        place += covariate.width
    return found
