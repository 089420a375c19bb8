"""The content of ``dataset.json``, from what became of a source's cases."""

from collections.abc import Mapping, Sequence

from radfed.dataset.checks import channels_of
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Case, Datalist, entry
from radfed.dataset.splits import SPLITS
from radfed.task import OutcomeTask, SegmentationTask

_PHANTOM = "PHANTOM data: made up, no patient was scanned"


def make_datalist(
    phantom: bool,
    label_names: Mapping[int, str],
    judged: Sequence[Judgement],
    site: str,
    task: SegmentationTask | OutcomeTask | None,
) -> Datalist:
    """List the accepted cases by split, ordered by digest.

    Args:
        phantom: whether the data are made up.
        label_names: names of label values that the source gives.
        judged: what became of each case.
        site: name of the site.
        task: the contract, if there is one.
    """
    found = [item.outcome for item in judged if isinstance(item.outcome, Case)]
    cases = sorted(found, key=lambda case: case.digest)
    count = max((case.channels for case in cases), default=1)
    channels = [channel.name for channel in channels_of(task)] or [f"channel_{index}" for index in range(count)]
    lists = {split: tuple(entry(case) for case in cases if case.split == split) for split in SPLITS}
    return Datalist(
        name=task.name if task else "images",
        description=_PHANTOM if phantom else "Prepared by radfed ingest",
        site=site,
        task=task.name if task else "",
        phantom=phantom,
        labels=_labels(label_names, judged, cases, task),
        channels={str(index): name for index, name in enumerate(channels)},
        training=lists["training"],
        validation=lists["validation"],
        test=lists["test"],
    )


def _labels(
    given: Mapping[int, str],
    judged: Sequence[Judgement],
    cases: Sequence[Case],
    task: SegmentationTask | OutcomeTask | None,
) -> dict[str, str]:
    """What labels are called: voxel values, or the numbers of the task's answers."""
    if isinstance(task, OutcomeTask):
        return {str(index): name for index, name in enumerate(task.finds)}
    names = {label.value: label.name for label in task.labels} if task else _agreed(given, judged)
    for value in sorted({value for case in cases for value in case.label_volumes}):
        names.setdefault(value, f"label_{value}")
    return {"0": "background", **{str(value): names[value] for value in sorted(names)}}


def _agreed(given: Mapping[int, str], judged: Sequence[Judgement]) -> dict[int, str]:
    """Names of label values by the source; where two cases name a value differently, none."""
    names = dict(given)
    for item in judged:
        for value, name in item.label_names.items():
            names[value] = name if names.get(value, name) == name else f"label_{value}"
    return names
