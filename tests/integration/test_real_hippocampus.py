"""Real scans: the Medical Segmentation Decathlon's hippocampus, where it is present (see README, RADFED_DATA)."""

import json
import shutil
from pathlib import Path

import pytest

from radfed.dataset.ingest import IngestSettings, ingest
from radfed.errors import DatasetRefusedError, InvalidInputError
from radfed.job import find_job
from radfed.workflow.cohorts import find_data


def source() -> Path | None:
    try:
        return find_data("msd_hippocampus")
    except InvalidInputError:
        return None


pytestmark = pytest.mark.skipif(source() is None, reason="msd_hippocampus is not under $RADFED_DATA")


def settings(folder: Path) -> IngestSettings:
    task = find_job("hippocampus_segmentation").task
    return IngestSettings("site", bytes(32), folder / "pseudonyms.csv", task=task)


def good_pairs(count: int) -> list[tuple[Path, Path]]:
    root = source()
    assert root is not None
    images = sorted((root / "imagesTr").glob("*.nii.gz"))[:count]
    return [(image, root / "labelsTr" / image.name) for image in images]


def test_every_bad_sample_is_quarantined_with_a_reason_of_its_own(tmp_path: Path) -> None:
    root = source()
    assert root is not None
    for image, label in good_pairs(15):
        for part, file in (("imagesTr", image), ("labelsTr", label)):
            (tmp_path / "in" / part).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "in" / part)
    shutil.copytree(root / "bad_samples", tmp_path / "in" / "bad_samples")
    report = ingest(tmp_path / "in", tmp_path / "out", settings(tmp_path))
    assert report.cases == 15
    assert report.reasons == {"implausible_size": 1, "no_image": 1, "no_label": 1}
    lines = (tmp_path / "out" / "quarantine.jsonl").read_text()
    assert len(lines.splitlines()) == 3
    assert "hippocampus" not in lines
    assert len({json.loads(line)["reason"] for line in lines.splitlines()}) == 3


def test_a_dataset_with_30_percent_bad_cases_is_refused_and_says_why(tmp_path: Path) -> None:
    for number, (image, label) in enumerate(good_pairs(10)):
        for part, file in (("images", image), ("labels", label)):
            (tmp_path / "in" / part).mkdir(parents=True, exist_ok=True)
            if part == "labels" or number < 7:
                shutil.copy(file, tmp_path / "in" / part)
    with pytest.raises(DatasetRefusedError, match=r"3 of 10 cases failed their checks \(30%.*no_image 3") as refused:
        ingest(tmp_path / "in", tmp_path / "out", settings(tmp_path))
    assert refused.value.exit_code == 1
    assert not (tmp_path / "out").exists()
