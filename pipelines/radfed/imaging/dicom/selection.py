"""Which series of a study is which channel of a task, and why the others are not."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from radfed.errors import DataError
from radfed.imaging.dicom.facts import plane, slice_distance, slices
from radfed.imaging.dicom.index import Series
from radfed.task import Channel


class Channelled(Protocol):
    """What has channels: a segmentation task, the image of an outcome task."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Each is one series."""


@dataclass(frozen=True)
class SelectedCase:
    """The series of one case.

    Attributes:
        id: raw id, unique in the index.
        study: StudyInstanceUID.
        patient: PatientID.
        channels: a series each, in the task's order; one where there is no task.
    """

    id: str
    study: str
    patient: str
    channels: tuple[Series, ...]


@dataclass(frozen=True)
class RefusedStudy:
    """A study of which some series fit, but no case can be made."""

    id: str
    patient: str
    error: DataError


@dataclass(frozen=True)
class Selection:
    """What was selected.

    Attributes:
        cases: ordered by id.
        refused: studies that lack a channel, or in which a channel is ambiguous.
        passed_over: series that are no channel, with why; for people at the site, it holds words of the headers.
    """

    cases: tuple[SelectedCase, ...]
    refused: tuple[RefusedStudy, ...]
    passed_over: tuple[tuple[Series, str], ...]


def select(series: Sequence[Series], task: Channelled | None, labelled: Collection[str] = ()) -> Selection:
    """Select by the rules of the task's channels; without a task every series is a case.

    Args:
        series: of an index.
        task: its ``channels`` say the modality and the rule.
        labelled: ids of series that a label refers to; where several series fit a rule, one of these is meant.
    """
    if task is None:
        cases = tuple(SelectedCase(one.id, one.study, one.patient, (one,)) for one in series)
        return Selection(cases, (), ())
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        studies.setdefault((one.patient, one.study), []).append(one)
    chosen: list[SelectedCase] = []
    refused: list[RefusedStudy] = []
    passed: list[tuple[Series, str]] = []
    for (patient, study), members in studies.items():
        picked, why_not = _pick(members, task, labelled)
        passed += why_not
        if isinstance(picked, DataError):
            refused.append(RefusedStudy(study or members[0].id, patient, picked))
        elif picked:
            name = picked[0].id if len(picked) == 1 else study or picked[0].id
            chosen.append(SelectedCase(name, study, patient, picked))
    return Selection(
        tuple(sorted(chosen, key=lambda case: case.id)),
        tuple(sorted(refused, key=lambda study: study.id)),
        tuple(passed),
    )


def mismatch(series: Series, channel: Channel) -> str | None:
    """Why a series is not a channel, or None if it is."""
    rule = channel.series
    if channel.modality not in ("OT", series.modality):
        return f"modality {series.modality or 'unknown'}, wanted {channel.modality}"
    words = f"{series.description}\n{series.first.protocol}"
    if rule.description and not re.search(rule.description, words, re.IGNORECASE):
        return f"description does not match {rule.description!r}"
    if rule.exclude and re.search(rule.exclude, words, re.IGNORECASE):
        return f"description matches {rule.exclude!r}, which is excluded"
    if rule.orientation and plane(series) != rule.orientation:
        return f"{plane(series) or 'no'} plane, wanted {rule.orientation}"
    if slices(series) < rule.min_slices:
        return f"{slices(series)} slices, wanted at least {rule.min_slices}"
    distance = slice_distance(series)
    if rule.min_thickness is not None and (distance is None or distance < rule.min_thickness):
        return f"slices {_mm(distance)} apart, wanted at least {rule.min_thickness:g} mm"
    if rule.max_thickness is not None and (distance is None or distance > rule.max_thickness):
        return f"slices {_mm(distance)} apart, wanted at most {rule.max_thickness:g} mm"
    return None


def single(channel: Channel) -> Channel:
    """The same channel where a case is one image: rules on numbers and distances of slices do not count."""
    rule = channel.series.model_copy(update={"min_slices": 1, "min_thickness": None, "max_thickness": None})
    return channel.model_copy(update={"series": rule})


def _pick(
    members: Sequence[Series], task: Channelled, labelled: Collection[str]
) -> tuple[tuple[Series, ...] | DataError, list[tuple[Series, str]]]:
    """A series for each channel of one study, or why there is none; and why the other series are none."""
    picked: list[Series] = []
    missing: list[str] = []
    error: DataError | None = None
    for channel in task.channels:
        fitting = [one for one in members if mismatch(one, channel) is None and one not in picked]
        try:
            picked.append(_prefer(fitting, channel, labelled))
        except DataError as problem:
            error = error or (problem if fitting else None)
            missing.append(channel.name)
    others = [(one, _why_not(one, task)) for one in members if one not in picked]
    if error is not None:
        return error, others
    if missing and picked:
        named = ", ".join(missing)
        return DataError("no_matching_series", f"no series of the study is the channel {named}; see --explain"), others
    return tuple(picked), others


def _prefer(fitting: Sequence[Series], channel: Channel, labelled: Collection[str]) -> Series:
    """The one series meant.

    Raises:
        DataError: ``no_matching_series`` or ``ambiguous_series``.
    """
    if not fitting:
        raise DataError("no_matching_series", f"no series of the study is the channel {channel.name}")
    meant = [one for one in fitting if one.id in labelled] or list(fitting)
    if len(meant) == 1:
        return meant[0]
    by_number = sorted(meant, key=lambda one: (one.number is None, one.number or 0, one.id))
    match channel.series.prefer:
        case "first":
            return by_number[0]
        case "last":
            return by_number[-1]
        case "most_slices":
            return max(by_number, key=lambda one: slices(one))
        case "thinnest":
            return min(by_number, key=lambda one: slice_distance(one) or float("inf"))
    raise DataError(
        "ambiguous_series",
        f"{len(meant)} series of the study fit the channel {channel.name}; narrow its rule in task.yaml, or let it "
        "prefer one (most_slices, thinnest, first, last)",
    )


def _why_not(series: Series, task: Channelled) -> str:
    reasons = {channel.name: mismatch(series, channel) for channel in task.channels}
    said = [f"{name}: {why}" for name, why in reasons.items() if why]
    fits = [name for name, why in reasons.items() if why is None]
    return "; ".join([*said, *(f"{name}: fits, another series was taken or it is ambiguous" for name in fits)])


def _mm(distance: float | None) -> str:
    return "an unknown distance" if distance is None else f"{distance:.3g} mm"
