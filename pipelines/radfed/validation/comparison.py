"""One model beside others on the same cases: means, and paired differences with intervals."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from radfed.files import put_text
from radfed.metrics.intervals import Bootstrap
from radfed.settings import Settings
from radfed.validation.results import CaseResult, Evaluation, read_as
from radfed.validation.summary import METRICS, Metric, Statistic, case_value, statistic


class ComparisonRow(Settings):
    """A model on the cases of a site, or of all: its own mean, and how much better the model of interest is."""

    model: str
    site: str | None = Field(description="Null for all sites together")
    metric: Metric
    score: Statistic
    difference: Statistic | None = Field(
        default=None, description="Model of interest minus this one, per case; null for the model of interest itself"
    )


class _Comparison(Settings):
    rows: tuple[ComparisonRow, ...]


def compare(
    evaluation: Evaluation, others: Mapping[str, Evaluation], how: Bootstrap | None = None
) -> tuple[ComparisonRow, ...]:
    """Set a model beside others, on each site's cases and on the union.

    Cases are paired by the digest of their image; where one is scored by one model only, it is left out of that
    pair's difference and mean. A case enters with its mean over labels.

    Args:
        evaluation: the model of interest.
        others: name of the model to its evaluation.
        how: how intervals are made.
    """
    rows = []
    places = [None, *evaluation.sites]
    for site in places:
        mine = {case.digest: case for case in (evaluation.cases if site is None else evaluation.at(site))}
        for metric in METRICS:
            own = statistic(list(mine.values()), [case_value(case, metric) for case in mine.values()], how)
            if own is not None:
                rows.append(ComparisonRow(model=evaluation.model, site=site, metric=metric, score=own))
            for name, other in others.items():
                row = _against(name, site, metric, mine, other, how)
                if row is not None:
                    rows.append(row)
    return tuple(rows)


def dump_comparison(rows: tuple[ComparisonRow, ...], path: Path) -> None:
    """Write a comparison as JSON. It holds means only, no case, and may travel in a release."""
    put_text(path, _Comparison(rows=rows).model_dump_json(indent=1) + "\n")


def load_comparison(path: Path) -> tuple[ComparisonRow, ...]:
    """Read what ``dump_comparison`` wrote.

    Raises:
        InvalidInputError: the file cannot be read, or is no comparison.
    """
    return read_as(_Comparison, path).rows


def _against(
    name: str,
    site: str | None,
    metric: Metric,
    mine: Mapping[str, CaseResult],
    other: Evaluation,
    how: Bootstrap | None,
) -> ComparisonRow | None:
    pairs = [(mine[case.digest], case) for case in other.cases if case.digest in mine]
    theirs = [case for _, case in pairs]
    values = [case_value(case, metric) for case in theirs]
    score = statistic(theirs, values, how)
    if score is None:
        return None
    gains = []
    for (case, _), value in zip(pairs, values, strict=True):
        own = case_value(case, metric)
        gains.append(own - value if own is not None and value is not None else None)
    difference = statistic([case for case, _ in pairs], gains, how)
    return ComparisonRow(model=name, site=site, metric=metric, score=score, difference=difference)
