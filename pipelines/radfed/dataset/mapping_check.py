"""Whether a site's mapping gives what a task needs."""

from radfed.dataset.records_mapping import CovariateColumn, TableMapping
from radfed.errors import InvalidInputError
from radfed.task import Covariate, MultiClass, MultiLabel, NumericCovariate, OutcomeTask, SegmentationTask


def check_mapping(mapping: TableMapping, task: SegmentationTask | OutcomeTask) -> None:
    """Refuse a mapping that does not give what the task needs, or gives what it does not know.

    Raises:
        InvalidInputError: naming the keys.
    """
    problems = _segmentation(mapping) if isinstance(task, SegmentationTask) else _outcome(mapping, task)
    if problems:
        raise InvalidInputError("mapping: " + "\nmapping: ".join(problems))


def _segmentation(mapping: TableMapping) -> list[str]:
    problems = [f"{key}: is needed by a segmentation task" for key in ("image", "label") if not getattr(mapping, key)]
    unused = [key for key in ("covariates", "outcome", "findings", "time", "event") if getattr(mapping, key)]
    return problems + [f"{key}: a segmentation task has none" for key in unused]


def _outcome(mapping: TableMapping, task: OutcomeTask) -> list[str]:
    problems = []
    if (mapping.image is not None) != (task.image is not None):
        problems.append(f"image: the task has {'an' if task.image else 'no'} image")
    if mapping.label is not None:
        problems.append("label: is for segmentation tasks")
    names = [covariate.name for covariate in task.covariates]
    problems += _same("covariates", list(mapping.covariates), names, "; null says that it is not measured here")
    for covariate in task.covariates:
        if covariate.name in mapping.covariates:
            problems += _covariate(mapping.covariates[covariate.name], covariate)
    return problems + _target(mapping, task)


def _covariate(column: CovariateColumn | None, covariate: Covariate) -> list[str]:
    key = f"covariates.{covariate.name}"
    if column is None:
        return [f"{key}: the task requires it"] if covariate.required else []
    if not isinstance(covariate, NumericCovariate):
        known = ", ".join(covariate.values)
        unknown = [value for value in column.values.values() if value not in covariate.values]
        return [f"{key}.values: got {value!r}; the task knows: {known}" for value in unknown]
    texts = [value for value in column.values.values() if isinstance(value, str)]
    problems = [f"{key}.values: a numeric covariate needs numbers, got {value!r}" for value in texts]
    if column.unit and column.unit != covariate.unit and (column.factor, column.offset) == (1.0, 0.0):
        problems.append(f"{key}.unit: the table has {column.unit}, the task needs {covariate.unit}; give the factor")
    return problems


def _target(mapping: TableMapping, task: OutcomeTask) -> list[str]:
    """What is wrong with the columns of the outcome."""
    given = {key for key in ("outcome", "findings", "time", "event") if getattr(mapping, key)}
    match task.outcome:
        case MultiClass():
            needed = {"outcome"}
        case MultiLabel():
            needed = {"findings"}
        case _:
            needed = {"time", "event"}
    kind = task.outcome.type
    problems = [f"{key}: is needed by an outcome of the type {kind}" for key in sorted(needed - given)]
    problems += [f"{key}: does not belong to an outcome of the type {kind}" for key in sorted(given - needed)]
    if isinstance(task.outcome, MultiLabel):
        problems += _same("findings", list(mapping.findings), list(task.outcome.findings))
    if isinstance(task.outcome, MultiClass) and mapping.outcome:
        unknown = sorted(mapping.outcome.classes - set(task.outcome.classes))
        if unknown:
            known = ", ".join(task.outcome.classes)
            problems.append(f"outcome: got the class(es) {', '.join(unknown)}; the task knows: {known}")
    return problems


def _same(key: str, given: list[str], needed: list[str], hint: str = "") -> list[str]:
    problems = [f"{key}.{name}: is missing{hint}" for name in needed if name not in given]
    known = ", ".join(needed) or "none"
    return problems + [
        f"{key}.{name}: is not known to the task; it has: {known}" for name in given if name not in needed
    ]
