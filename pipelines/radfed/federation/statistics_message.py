"""What travels for a fingerprint, in FLARE's words: which statistics are asked for, and how an answer is read."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from nvflare.app_common.abstract.statistics_spec import Feature, Histogram
from nvflare.app_common.app_constant import StatisticsConstants
from nvflare.app_common.statistics.statisitcs_objects_decomposer import fobs_registration
from nvflare.fuel.utils import fobs

from radfed.dataset import fingerprint_content as content
from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Bins, Measure, SiteFingerprint
from radfed.errors import InvalidInputError
from radfed.task import OutcomeTask, SegmentationTask

SPLIT = "training"
"""FLARE's name for a data set within a site; no other split is described."""
DIGITS = 12
"""To which FLARE rounds; edges of narrow bins must stay apart."""
ASKED = (
    StatisticsConstants.STATS_COUNT,
    StatisticsConstants.STATS_SUM,
    StatisticsConstants.STATS_MEAN,
    StatisticsConstants.STATS_STDDEV,
    StatisticsConstants.STATS_HISTOGRAM,
)
_MOST_WORDS = 64
_OPENED = (
    StatisticsConstants.STATS_FEATURES,
    StatisticsConstants.STATS_1st_STATISTICS,
    StatisticsConstants.STATS_2nd_STATISTICS,
)

Answers: TypeAlias = Mapping[str, Mapping[str, object]]
"""A site's answers: by statistic, then by feature."""


def statistic_configs(task: SegmentationTask | OutcomeTask) -> dict[str, dict[str, object]]:
    """What FLARE's controller is to ask for. A feature without a range is asked for its coarse one first."""
    histograms: dict[str, object] = {"*": {"bins": 1, "range": [0, 1]}}
    for feature in (*names.voxel_features(task), *names.case_features(task)):
        entry: dict[str, object] = {"bins": feature.number}
        if feature.bins is not None:
            entry["range"] = [feature.bins.lower, feature.bins.upper]
        histograms[feature.name] = entry
    return {name: histograms if name == StatisticsConstants.STATS_HISTOGRAM else {} for name in ASKED}


def read_answers(
    task: SegmentationTask | OutcomeTask, answers: Answers, lower: Mapping[str, float], upper: Mapping[str, float]
) -> SiteFingerprint:
    """A site's fingerprint from what it sent; all of it is checked.

    Args:
        task: what was asked about.
        answers: what came.
        lower: lower end of the range of each feature's bins.
        upper: upper end.

    Raises:
        InvalidInputError: something is missing, is not of the task, or is no number that it could be.
    """
    counts = answers.get(StatisticsConstants.STATS_COUNT, {})
    known = {feature.name: feature for feature in (*names.voxel_features(task), *names.case_features(task))}
    values: dict[str, Measure] = {}
    groups: dict[str, dict[str, object]] = {}
    memory: object = None
    for name, count in counts.items():
        if name in known:
            bins = known[name].with_range(lower.get(name, 0.0), upper.get(name, 1.0))
            values[name] = _measure(name, answers, bins)
        elif name == names.GPU_MEMORY:
            memory = answers.get(StatisticsConstants.STATS_SUM, {}).get(name)
        else:
            group, cell = _cell(name, task)
            groups.setdefault(group, {})[cell] = count
    if any(len(cells) > _MOST_WORDS for cells in groups.values()):
        raise InvalidInputError(f"more than {_MOST_WORDS} categories of one kind")
    return SiteFingerprint.check({"values": values, "groups": groups, "gpu_memory": memory}, "answer")


def opened(data: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """An answer of FLARE's statistics executor, for the egress log: every number under its name.

    A histogram is its array of counts, and the ends of its range.
    """
    fobs_registration()
    for key, value in data.items():
        found: Any = fobs.loads(value) if key in _OPENED and isinstance(value, bytes) else value
        if key == StatisticsConstants.STATS_FEATURES:
            for split, features in found.items():
                yield f"features.{split}", len(features)
                yield from ((f"feature.{split}.{Feature(*f).feature_name}", True) for f in features)
        elif key in _OPENED:
            for statistic, splits in found.items():
                for split, values in splits.items():
                    for name, number in values.items():
                        yield from _number(f"{statistic}.{split}.{name}", number)
        else:
            yield key, value


def _number(name: str, number: object) -> Iterator[tuple[str, object]]:
    if not isinstance(number, Histogram):
        yield name, number
    elif number.bins:
        yield name, np.array([entry.sample_count for entry in number.bins])
        yield f"{name}.lower", number.bins[0].low_value
        yield f"{name}.upper", number.bins[-1].high_value


def _measure(name: str, answers: Answers, bins: Bins) -> Measure:
    count, total, deviation, histogram = (
        answers.get(key, {}).get(name)
        for key in (
            StatisticsConstants.STATS_COUNT,
            StatisticsConstants.STATS_SUM,
            StatisticsConstants.STATS_STDDEV,
            StatisticsConstants.STATS_HISTOGRAM,
        )
    )
    if not isinstance(histogram, Histogram):
        raise InvalidInputError(f"{name}: no histogram")
    edges = [*(entry.low_value for entry in histogram.bins), *(entry.high_value for entry in histogram.bins[-1:])]
    if len(edges) != bins.number + 1 or not np.allclose(edges, bins.edges):
        raise InvalidInputError(f"{name}: the histogram has other bins than were asked for")
    found = content.Histogram.check(
        {"bins": bins, "counts": tuple(entry.sample_count for entry in histogram.bins)}, name
    )
    return Measure.check({"count": count, "sum": total, "deviation": deviation, "histogram": found}, name)


def _cell(name: str, task: SegmentationTask | OutcomeTask) -> tuple[str, str]:
    """Group and category of a feature's name; where the words are the site's own, they are short and can be shown."""
    group, _, cell = name.partition("=")
    asked = names.groups(task)
    known = asked.get(group)
    if group not in asked or not cell or (known is not None and cell not in known):
        raise InvalidInputError(f"{name[:100]!r} was not asked for")
    if known is None and (len(cell) > 64 or not cell.isprintable()):
        raise InvalidInputError(f"a category of {group} is no short text")
    return group, cell
