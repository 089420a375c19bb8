"""Which NIfTI label belongs to which series."""

from pathlib import Path

import numpy as np
import pytest

from radfed.errors import DataError
from radfed.imaging.nifti import to_ras, write_image
from radfed.imaging.objects.nifti_labels import label_key, match_nifti_label
from radfed.imaging.volume import Volume

IDS = {"series": "1.2.3", "study": "1.2", "patient": "P7", "folder": "abdomen"}


def grid(shift: float = 0.0) -> Volume:
    affine = np.diag([-0.9, -0.8, 3.0, 1.0])
    affine[:3, 3] = (10 + shift, 20, 30)
    return Volume(np.zeros((1, 5, 6, 4), dtype=np.uint8), affine)


def label(folder: Path, name: str, volume: Volume) -> Path:
    path = folder / f"{name}.nii.gz"
    write_image(path, volume)
    return path


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("1.2.3.nii.gz", "1.2.3"),
        ("1.2.3_label.nii", "1.2.3"),
        ("P7_SEG.nii.gz", "P7"),
        ("P7-mask.nii.gz", "P7"),
        ("seg.nii.gz", "seg"),
    ],
)
def test_the_key_of_a_label_is_its_name_without_endings(name: str, key: str) -> None:
    assert label_key(Path(name)) == key


@pytest.mark.parametrize("name", ["1.2.3", "1.2_seg", "P7_label", "abdomen_mask", "abdomen"])
def test_a_label_is_found_by_each_name(name: str, tmp_path: Path) -> None:
    other = label(tmp_path, "something_else", grid(5.0))
    wanted = label(tmp_path, name, to_ras(grid()))
    assert match_nifti_label([other, wanted], grid(), IDS) == wanted


def test_the_series_comes_before_the_patient_and_both_before_the_grid(tmp_path: Path) -> None:
    by_grid, by_patient = label(tmp_path, "x", grid()), label(tmp_path, "P7", grid())
    by_series = label(tmp_path, "1.2.3_seg", grid(5.0))
    assert match_nifti_label([by_grid, by_patient, by_series], grid(), IDS) == by_series
    assert match_nifti_label([by_grid, by_patient], grid(), IDS) == by_patient


def test_the_label_of_another_series_of_the_patient_is_not_taken(tmp_path: Path) -> None:
    assert match_nifti_label([label(tmp_path, "P7", grid(5.0))], grid(), IDS) is None


def test_a_label_without_a_name_is_found_by_its_grid_in_any_orientation(tmp_path: Path) -> None:
    wanted = label(tmp_path, "organs", to_ras(grid()))
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no NIfTI")
    assert match_nifti_label([broken, label(tmp_path, "far", grid(5.0)), wanted], grid(), {}) == wanted
    assert match_nifti_label([broken], grid(), {}) is None


def test_two_labels_that_fit_equally_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 label files lie on the grid") as caught:
        match_nifti_label([label(tmp_path, "a", grid()), label(tmp_path, "b", grid())], grid(), IDS)
    assert caught.value.reason == "label_reference"
