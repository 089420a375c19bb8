"""Records of cases: whether covariates and outcome fit the task. Details name no patient and show no value."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from radfed.dataset.layout import Observed, Outcome
from radfed.dataset.splits import SplitName
from radfed.errors import DataError
from radfed.task import CategoricalCovariate, MultiClass, MultiLabel, NumericCovariate, OutcomeTask


@dataclass(frozen=True)
class Record:
    """What is known of a case beside its image.

    Attributes:
        covariates: by the task's name, in the task's unit; what is missing is not there.
        outcome: class, findings, or time and event; None where nobody knows.
        split: stated by the source; None: drawn by patient.
    """

    covariates: Mapping[str, float | str] = field(default_factory=dict)
    outcome: Outcome | None = None
    split: SplitName | None = None


def check_record(record: Record, task: OutcomeTask) -> None:
    """Check the covariates and the outcome of a case to learn from.

    Raises:
        DataError: as ``check_covariates``; ``no_outcome`` or ``unknown_outcome``.
    """
    check_covariates(record.covariates, task)
    check_outcome(record.outcome, task)


def check_covariates(covariates: Mapping[str, float | str], task: OutcomeTask) -> None:
    """Check that covariates are the task's, in its unit.

    Raises:
        DataError: ``missing_value``, ``not_a_number``, ``implausible_value`` or ``unknown_value``.
    """
    known = {covariate.name for covariate in task.covariates}
    foreign = [name for name in covariates if name not in known]
    if foreign:
        raise DataError("unknown_value", f"the task has no covariate {', '.join(sorted(foreign))}")
    for covariate in task.covariates:
        value = covariates.get(covariate.name)
        if value is None:
            if covariate.required:
                raise DataError("missing_value", f"{covariate.name} is missing, and the task requires it")
        elif isinstance(covariate, NumericCovariate):
            _check_number(covariate, value)
        else:
            _check_category(covariate, value)


def check_outcome(outcome: Outcome | None, task: OutcomeTask) -> None:
    """Check that an outcome is one of the task's.

    Raises:
        DataError: ``no_outcome`` or ``unknown_outcome``.
    """
    if outcome is None:
        raise DataError("no_outcome", "nobody says what became of the case; leave it out, or find out")
    match task.outcome:
        case MultiClass(classes=classes):
            fits = isinstance(outcome, str) and outcome in classes
        case MultiLabel(findings=findings):
            fits = isinstance(outcome, tuple) and set(outcome) <= set(findings)
        case _:
            fits = isinstance(outcome, Observed)
    if not fits:
        raise DataError("unknown_outcome", f"the outcome is none of the task's: {', '.join(task.finds)}")


def record_digest(image: str | None, record: Record) -> str:
    """SHA-256 of a case: of its image alone where there is no record, so that such digests stay what they were.

    Args:
        image: digest of the image; None without one.
        record: the case's. Its split plays no part.
    """
    if image is not None and not record.covariates and record.outcome is None:
        return image
    outcome = record.outcome.model_dump() if isinstance(record.outcome, Observed) else record.outcome
    content = {"image": image, "covariates": dict(record.covariates), "outcome": outcome}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _check_number(covariate: NumericCovariate, value: float | str) -> None:
    if isinstance(value, str) or not math.isfinite(value):
        raise DataError("not_a_number", f"{covariate.name} must be a finite number")
    lower, upper = covariate.lower, covariate.upper
    if (lower is not None and value < lower) or (upper is not None and value > upper):
        unit = f" {covariate.unit}" if covariate.unit else ""
        side = "below" if lower is not None and value < lower else "above"
        raise DataError(
            "implausible_value",
            f"{covariate.name} is {side} the plausible range of {_end(lower)} to {_end(upper)}{unit}: is it in another "
            "unit? Convert it (factor in a mapping), mend the value, or take it away",
        )


def _check_category(covariate: CategoricalCovariate, value: float | str) -> None:
    if value not in covariate.values:
        raise DataError(
            "unknown_value",
            f"{covariate.name} has a value that is none of: {', '.join(covariate.values)}; write one of these, or say "
            "under values in a mapping what it means",
        )


def _end(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
