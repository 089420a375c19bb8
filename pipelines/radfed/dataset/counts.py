"""What a dataset's records hold, counted."""

from collections import Counter
from collections.abc import Iterator, Sequence

from radfed.dataset.layout import Case, Observed
from radfed.task import MultiClass, OutcomeTask, SegmentationTask, Survival


def outcomes(cases: Sequence[Case], task: SegmentationTask | OutcomeTask | None) -> dict[str, int]:
    """Cases of each class or with each finding of the task; of a survival task, with and without the event."""
    if not isinstance(task, OutcomeTask):
        return {}
    counts = Counter(name for case in cases for name in _said(case))
    names = ("event", "censored") if isinstance(task.outcome, Survival) else task.finds
    return {name: counts[name] for name in names}


def missing_values(cases: Sequence[Case], task: SegmentationTask | OutcomeTask | None) -> dict[str, int]:
    """Cases without each covariate of the task."""
    names = [covariate.name for covariate in task.covariates] if isinstance(task, OutcomeTask) else []
    return {name: sum(name not in case.covariates for case in cases) for name in names}


def one_sided(cases: Sequence[Case], task: SegmentationTask | OutcomeTask | None) -> Iterator[str]:
    """Warnings about training cases that are all alike: a site that has one class can neither train nor test alone."""
    if not isinstance(task, OutcomeTask):
        return
    training = [case for case in cases if case.split == "training"]
    if not training:
        return
    if isinstance(task.outcome, MultiClass):
        there = sorted({name for case in training for name in _said(case)})
        if len(there) == 1:
            count = len(training)
            yield (
                f"all {count} training cases are of the class {there[0]!r}: this site alone teaches no difference; it "
                "can take part where others have the other classes. If it has them too, mend the mapping's outcome"
            )
        return
    for name, count in outcomes(training, task).items():
        if count in (0, len(training)) and name != "censored":
            which = "no" if count == 0 else "every"
            yield f"{which} training case has {name!r}: this site alone teaches nothing about it"


def _said(case: Case) -> tuple[str, ...]:
    match case.outcome:
        case str():
            return (case.outcome,)
        case tuple():
            return case.outcome
        case Observed():
            return ("event",) if case.outcome.event else ("censored",)
        case _:
            return ()
