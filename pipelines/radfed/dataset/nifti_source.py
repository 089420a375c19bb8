"""A folder of NIfTI files as a source of cases."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from radfed.dataset.accept import Acceptance, accept
from radfed.dataset.judgement import Judgement
from radfed.dataset.layout import Case
from radfed.dataset.orphans import why_alone
from radfed.dataset.series import read_series
from radfed.dataset.sources import SourceCase, find_cases
from radfed.dataset.splits import DRAWN
from radfed.errors import DataError, InvalidInputError
from radfed.imaging.nifti import read_label
from radfed.task import SegmentationTask


class NiftiSource:
    """The cases of a folder in one of the known arrangements.

    Attributes:
        phantom: the source says that its data are made up.
        label_names: names of label values that the source gives.
    """

    def __init__(self, folder: Path, channels: int, patients: Mapping[str, str] | None) -> None:
        self._found = find_cases(folder, channels)
        self._patients = _patients(self._found.cases, patients)
        self.phantom = self._found.phantom
        self.label_names = dict(self._found.label_names)
        self.warnings: tuple[str, ...] = ()
        self.mend_split = DRAWN

    def judge(self, how: Acceptance, on_progress: Callable[[int, int], None]) -> Iterator[Judgement]:
        """Judge each case: write what passes under ``how.staged``, say why the others fail."""
        task = how.task if isinstance(how.task, SegmentationTask) else None
        needs_label = task is not None or self._found.labelled
        whole: list[SourceCase] = []
        alone: list[SourceCase] = []
        for item in self._found.cases:
            complete = bool(item.images) and item.place != "stray" and (item.label is not None or not needs_label)
            (whole if complete else alone).append(item)
        accepted: list[Case] = []
        for done, item in enumerate(whole, start=1):
            outcome = self._read(item, how)
            if isinstance(outcome, Case):
                accepted.append(outcome)
            on_progress(done, len(self._found.cases))
            yield Judgement(item.id, self._patients[item.id], outcome)
        # Last, because how a lone file compares with the good cases tells why it is alone.
        for done, item in enumerate(alone, start=len(whole) + 1):
            on_progress(done, len(self._found.cases))
            yield Judgement(item.id, self._patients.get(item.id, ""), why_alone(item, task, tuple(accepted)))

    def _read(self, item: SourceCase, how: Acceptance) -> Case | DataError:
        try:
            scanned = read_series(item.images, item.channels)
            label = read_label(item.label) if item.label else None
            return accept(item.id, self._patients[item.id], scanned, label, how)
        except DataError as error:
            return error


def _patients(cases: tuple[SourceCase, ...], mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Raw patient id of each case that could go on."""
    ids = [case.id for case in cases if case.images and case.place != "stray"]
    if mapping is None:
        return {raw: raw for raw in ids}
    missing = [raw for raw in ids if raw not in mapping]
    if missing:
        raise InvalidInputError(
            f"the patients' mapping misses {len(missing)} of {len(ids)} cases, for example {missing[0]!r}; "
            "give every case its patient, or one patient could end up in two splits"
        )
    return {raw: mapping[raw] for raw in ids}
