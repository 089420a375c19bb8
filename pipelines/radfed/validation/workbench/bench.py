"""Everything that a request of the workbench needs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from radfed.task import SegmentationTask
from radfed.validation.workbench.journal import Journal
from radfed.validation.workbench.material import Bundle

COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#999933", "#882255")
"""Of labels, in the task's order; after the last it begins anew. Okabe and Ito 2008, then Tol: told apart with every
kind of colour vision. Their yellow is kept for the disagreement."""

_CT_WINDOWS = (
    ("abdomen", -110.0, 190.0),
    ("lung", -1350.0, 150.0),
    ("bone", -450.0, 1050.0),
    ("brain", 0.0, 80.0),
)
"""Centre and width as they are usual in the clinic, in HU."""


@dataclass(frozen=True)
class Bench:
    """A review that is served.

    Attributes:
        bundle: release, dataset, state and database.
        journal: what was done.
        task: the model's contract.
        salt: the review's secret, for draws.
        site: who prepared the dataset.
        dicom: folder of the cases' DICOM files, if it is known.
        clock: the time (s).
        exporting: held while an export is made, so that it is made once.
    """

    bundle: Bundle
    journal: Journal
    task: SegmentationTask
    salt: str
    site: str
    dicom: Path | None = None
    clock: Callable[[], float] = time.time
    exporting: Lock = field(default_factory=Lock)

    def labels(self) -> list[dict[str, object]]:
        """The labels with a colour each."""
        return [
            {"value": label.value, "name": label.name, "colour": COLOURS[index % len(COLOURS)]}
            for index, label in enumerate(self.task.labels)
        ]

    def windows(self) -> list[dict[str, object]]:
        """Grey windows: the contract's own, and for CT the usual ones."""
        found: list[tuple[str, float, float]] = []
        intensity = self.task.intensity
        if intensity.rule == "window":
            found.append(("task", intensity.lower, intensity.upper))
        if self.task.channels[0].modality == "CT":
            found += _CT_WINDOWS
        return [{"name": name, "low": low, "high": high} for name, low, high in found]
