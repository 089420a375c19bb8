"""What became of one candidate case of a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from radfed.dataset.layout import Case
from radfed.errors import DataError


@dataclass(frozen=True)
class Judgement:
    """A case that was written under its pseudonym, or why there is none.

    Attributes:
        raw: raw id, unique in the source; never leaves the site.
        patient: raw id of the patient; empty where nobody knows.
        outcome: the case, or the reason to refuse it.
        label_names: names of label values that the source itself gives.
        refused_labels: label files that could not be used, although others could.
        beside: whether it is no case of its own, but something that came beside a good one.
        label_file: the label's file, where it was found by its grid and could fit another case too.
    """

    raw: str
    patient: str
    outcome: Case | DataError
    label_names: Mapping[int, str] = field(default_factory=dict)
    label_file: Path | None = None
    refused_labels: Mapping[Path, DataError] = field(default_factory=dict)
    beside: bool = False
