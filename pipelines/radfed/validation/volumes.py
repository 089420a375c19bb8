"""Agreement of volumes: mean difference and 95% limits of agreement (Bland and Altman 1986)."""

import numpy as np

from radfed.metrics.policy import Outcome
from radfed.settings import Settings
from radfed.validation.results import Evaluation


class Agreement(Settings):
    """Prediction minus reference over cases (ml); the limits are null with fewer than three cases."""

    bias_ml: float
    low_ml: float | None
    high_ml: float | None
    mean_reference_ml: float
    cases: int


def volume_pairs(evaluation: Evaluation, label: str) -> tuple[list[str], list[float], list[float]]:
    """Site, reference volume and predicted volume (ml) of each case; where both masks are empty it is left out."""
    found = [
        (case.site, result.reference_ml, result.prediction_ml)
        for case in evaluation.cases
        for result in case.labels
        if result.label == label and result.outcome is not Outcome.BOTH_EMPTY
    ]
    return [site for site, _, _ in found], [ref for _, ref, _ in found], [pred for _, _, pred in found]


def agreement(evaluation: Evaluation, label: str) -> Agreement | None:
    """How far predicted volumes lie from the reference; None where no case has one."""
    _, reference, prediction = volume_pairs(evaluation, label)
    if not reference:
        return None
    difference = np.array(prediction) - np.array(reference)
    bias = float(difference.mean())
    reach = 1.96 * float(difference.std(ddof=1)) if len(difference) > 2 else None
    return Agreement(
        bias_ml=bias,
        low_ml=bias - reach if reach is not None else None,
        high_ml=bias + reach if reach is not None else None,
        mean_reference_ml=float(np.mean(reference)),
        cases=len(difference),
    )
