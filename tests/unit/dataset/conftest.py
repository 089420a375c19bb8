from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# pytest puts this folder on the path, mypy does not.
from dataset_cases import image_array, label_array  # type: ignore[import-not-found]
from numpy.typing import NDArray

from radfed.dataset.ingest import IngestSettings
from radfed.imaging.nifti import write_image
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask

Write = Callable[..., None]


@pytest.fixture
def task() -> SegmentationTask:
    return SegmentationTask.check(
        {
            "name": "two_organs",
            "description": "test",
            "intended_use": "test",
            "channels": [{"name": "mr", "modality": "MR"}],
            "labels": [{"value": 1, "name": "liver"}, {"value": 2, "name": "spleen"}],
            "spacing": [1, 1, 1],
            "roi_size": [16, 16, 16],
            "network": {"name": "UNet"},
            "limits": {"max_size_mm": [200, 200, 200]},
        },
        source="test",
    )


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """An MSD folder with six good pairs, good_0 to good_5."""
    folder = tmp_path / "source"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for seed in range(6):
        write_image(folder / f"imagesTr/good_{seed}.nii.gz", Volume(image_array(seed), np.eye(4)))
        write_image(folder / f"labelsTr/good_{seed}.nii.gz", Volume(label_array(), np.eye(4)))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> IngestSettings:
    return IngestSettings(
        site="site-a", secret=b"s" * 32, pseudonyms=tmp_path / "site" / "pseudonyms.csv", max_refused=0.5
    )


@pytest.fixture
def add() -> Write:
    """Write an image, a label, or both into an MSD folder."""

    def write(
        folder: Path,
        name: str,
        image: NDArray[np.float32] | None = None,
        label: NDArray[np.generic] | None = None,
        affine: NDArray[np.float64] | None = None,
        label_affine: NDArray[np.float64] | None = None,
    ) -> None:
        affine = np.eye(4) if affine is None else affine
        if image is not None:
            write_image(folder / f"imagesTr/{name}.nii.gz", Volume(image, affine))
        if label is not None:
            write_image(
                folder / f"labelsTr/{name}.nii.gz", Volume(label, affine if label_affine is None else label_affine)
            )

    return write
