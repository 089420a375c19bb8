"""Which cases of which datasets are scored."""

from collections.abc import Callable, Sequence

from radfed.dataset.layout import Case, Dataset
from radfed.errors import InvalidInputError
from radfed.task import TaskSpec
from radfed.validation.results import Split

Progress = Callable[[int, int], None]
"""Told how many cases are done, and of how many."""


def choose(datasets: Sequence[Dataset], task: TaskSpec, split: Split) -> list[tuple[Dataset, Case]]:
    """The cases of a split, site by site.

    Raises:
        InvalidInputError: there are none, two datasets are of one site, or one was prepared for another task.
    """
    _check_datasets(datasets, task)
    chosen = [(dataset, case) for dataset in datasets for case in cases_of(dataset, split)]
    if not chosen:
        held = ", ".join(f"{dataset.site}: {len(dataset.cases)} case(s)" for dataset in datasets) or "no dataset"
        raise InvalidInputError(f"no case in the split {split!r} ({held}); choose another split, or all")
    return chosen


def cases_of(dataset: Dataset, split: Split) -> tuple[Case, ...]:
    """The cases of a split, ordered by digest; ``all`` takes every split."""
    return dataset.cases if split == "all" else dataset.split(split)


def _check_datasets(datasets: Sequence[Dataset], task: TaskSpec) -> None:
    sites = [dataset.site for dataset in datasets]
    twice = sorted({site for site in sites if sites.count(site) > 1})
    if twice:
        raise InvalidInputError(f"each site's dataset must be given once, got twice: {', '.join(twice)}")
    for dataset in datasets:
        if dataset.task and dataset.task != task.name:
            raise InvalidInputError(
                f"{dataset.site}: the dataset was prepared for the task {dataset.task!r}, the model is for "
                f"{task.name!r}; ingest it with the model's task.yaml"
            )
