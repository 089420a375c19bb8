"""DICOM series as cases to segment, and what their results are called."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from radfed.errors import DataError
from radfed.imaging.dicom.index import Series
from radfed.imaging.dicom.selection import Channelled, mismatch, select

_SUFFIXES = (".dcm", ".dicom", ".ima")
_REASONS = 3
_LONGEST = 160
"""Bytes of a name: with a suffix and a temporary one it must stay below the 255 of most file systems."""


@dataclass(frozen=True)
class DicomCase:
    """The series of one case, or why there is none.

    Attributes:
        files: where it lies.
        content: a series a channel, or why it cannot be segmented.
        number: SeriesNumber of the first channel.
        warnings: what people should know about the choice.
    """

    files: tuple[Path, ...]
    content: tuple[Series, ...] | DataError
    number: int | None = None
    warnings: tuple[str, ...] = ()


def choose(series: Sequence[Series], task: Channelled) -> list[DicomCase]:
    """One case a study, by the rules of the task's channels; a study without one is there with the reason.

    Where only one series is given and the task has one channel, that series is meant: if its modality is right, it is
    taken with a warning whatever else the rule says.
    """
    if len(series) == 1 and len(task.channels) == 1:
        return [_only(series[0], task)]
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        studies.setdefault((one.patient, one.study), []).append(one)
    return [_of_study(members, task) for members in studies.values()]


def relative_name(source: Path, files: Sequence[Path]) -> str:
    """What results of these files are called: after the file, or after the folder that holds all of them.

    The name is relative to ``source``, its folders joined by ``-``; files in ``source`` itself take its name.
    """
    if len(files) == 1:
        place = files[0].parent / _without_suffix(files[0].name)
    else:
        place = Path(os.path.commonpath([path.parent for path in files]))
    parts = (place.name,) if source.is_file() else place.relative_to(source).parts
    name = "-".join(parts) or source.resolve().name or "scan"
    return name.encode()[-_LONGEST:].decode(errors="ignore")


def unique_names(wanted: Sequence[tuple[str, int | None]], taken: Collection[str]) -> list[str]:
    """Names that differ from each other and from ``taken``.

    Args:
        wanted: names and SeriesNumbers. A name that is wanted more than once gets ``-<SeriesNumber>``; where that does
            not tell them apart, all of those get a running number.
        taken: names that are not free.
    """
    counts = Counter([name for name, _ in wanted] + list(taken))
    numbered = [name if counts[name] == 1 or n is None else f"{name}-{n}" for name, n in wanted]
    counts = Counter(numbered + list(taken))
    used = {*taken, *(name for name in numbered if counts[name] == 1)}
    names = []
    for name in numbered:
        if counts[name] > 1:
            name = next(free for n in range(1, len(wanted) + len(taken) + 2) if (free := f"{name}-{n}") not in used)
            used.add(name)
        names.append(name)
    return names


def _only(series: Series, task: Channelled) -> DicomCase:
    channel = task.channels[0]
    why = mismatch(series, channel)
    if channel.modality not in ("OT", series.modality):
        return DicomCase(_files([series]), DataError("no_matching_series", f"the series does not fit the task: {why}"))
    warnings = (f"taken as the only series, though the task's rule would not choose it: {why}",) if why else ()
    return _case((series,), warnings)


def _of_study(members: Sequence[Series], task: Channelled) -> DicomCase:
    selection = select(members, task)
    if selection.cases:
        return _case(selection.cases[0].channels)
    if selection.refused:
        return DicomCase(_files(members), _advise(selection.refused[0].error))
    said = sorted({why for _, why in selection.passed_over})
    more = f"; and {len(said) - _REASONS} more reasons" if len(said) > _REASONS else ""
    error = DataError("no_matching_series", f"no series fits the task: {'; '.join(said[:_REASONS])}{more}")
    return DicomCase(_files(members), error)


def _case(channels: tuple[Series, ...], warnings: tuple[str, ...] = ()) -> DicomCase:
    return DicomCase(_files(channels), channels, channels[0].number, warnings)


def _files(series: Sequence[Series]) -> tuple[Path, ...]:
    return tuple(instance.path for one in series for instance in one.instances)


def _advise(error: DataError) -> DataError:
    """For who predicts, the task is given."""
    if error.reason != "ambiguous_series":
        return error
    return DataError(
        error.reason, "several series of the study fit the task; give the folder of the one series that you mean"
    )


def _without_suffix(name: str) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]
