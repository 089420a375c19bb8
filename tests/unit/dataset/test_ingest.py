import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

# pytest puts this folder on the path, mypy does not.
from dataset_cases import image_array, label_array  # type: ignore[import-not-found]

from radfed.dataset.checks import CASE_REASONS
from radfed.dataset.ingest import IngestSettings, ingest
from radfed.dataset.layout import Dataset
from radfed.dataset.pseudonyms import read_map
from radfed.dataset.splits import SplitSettings
from radfed.errors import DataError, DatasetRefusedError, InvalidInputError
from radfed.imaging.nifti import write_image
from radfed.imaging.phantoms import SCANNERS, write_cohort
from radfed.imaging.volume import Volume
from radfed.task import SegmentationTask

Write = Callable[..., None]


def quarantine(path: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["id"]: line["reason"] for line in lines}


def reasons(out: Path, settings: IngestSettings) -> dict[str, str]:
    """Reason by raw id, by way of the site's map."""
    names = read_map(settings.pseudonyms)
    return {names[pseudonym]: reason for pseudonym, reason in quarantine(out / "quarantine.jsonl").items()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_good_cases_become_a_dataset(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    report = ingest(good, tmp_path / "out", settings, lambda done, total: progress.append((done, total)))
    dataset = Dataset.read(tmp_path / "out")
    assert report.cases == len(dataset.cases) == sum(report.splits.values()) == 6
    assert report.quarantined == 0
    assert progress == [(done, 6) for done in range(1, 7)]
    by_name = {read_map(settings.pseudonyms)[case.id]: case for case in dataset.cases}
    for seed in range(6):
        case = by_name[f"good_{seed}"]
        np.testing.assert_array_equal(dataset.image(case).array, image_array(seed))
        np.testing.assert_array_equal(dataset.label(case).array, label_array())
        assert case.label_volumes == {1: 16.0, 2: 16.0}
    assert not list(tmp_path.glob(".out*"))


def test_no_raw_id_is_in_the_dataset(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    ingest(good, tmp_path / "out", settings)
    for name, content in files(tmp_path / "out").items():
        assert "good" not in name
        assert b"good_" not in content


def test_map_is_private_and_outside(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    ingest(good, tmp_path / "out", settings)
    assert stat.S_IMODE(settings.pseudonyms.stat().st_mode) == 0o600
    with pytest.raises(InvalidInputError, match="outside the dataset"):
        ingest(good, tmp_path / "out", replace(settings, pseudonyms=tmp_path / "out" / "map.csv"))


def test_secret_is_in_no_repr(settings: IngestSettings) -> None:
    assert "ssss" not in repr(settings)


def test_lps_source_is_stored_as_ras(settings: IngestSettings, tmp_path: Path) -> None:
    write_cohort(tmp_path / "source", "site-a", SCANNERS["valley"], cases=3, seed=1)
    report = ingest(tmp_path / "source", tmp_path / "out", settings)
    dataset = Dataset.read(tmp_path / "out")
    assert report.phantom
    assert dataset.phantom
    for case in dataset.cases:
        assert case.source_orientation == "PSR"
        assert case.spacing == pytest.approx((1.6, 1.6, 1.3))
        assert (np.diag(dataset.image(case).affine)[:3] > 0).all()
        label = dataset.label(case).array[0]
        # The liver, label 1, lies in the patient's right, where x is large.
        assert np.argwhere(label == 1)[:, 0].mean() > np.argwhere(label == 2)[:, 0].mean()


def spoil(folder: Path, add: Write) -> dict[str, str]:
    """Add a bad case of every kind that a pair can be; gives the reason expected by raw id."""
    shifted, sparse = np.eye(4), np.diag([1.0, 1.0, 22.0, 1.0])
    shifted[0, 3] = 0.5
    holed = image_array(101)
    holed[0, 3, 3, 3] = np.nan
    add(folder, "n_no_image", label=label_array())
    add(folder, "n_no_label", image=image_array(100))
    add(folder, "n_non_finite", image=holed, label=label_array())
    add(folder, "n_constant", image=np.full((1, 12, 10, 8), 7.0, np.float32), label=label_array())
    add(folder, "n_shape", image=image_array(102), label=label_array((12, 10, 9)))
    add(folder, "n_affine", image=image_array(103), label=label_array(), label_affine=shifted)
    add(folder, "n_unknown", image=image_array(104), label=label_array(values=(1, 7)))
    add(folder, "n_empty", image=image_array(105), label=label_array(values=()))
    add(folder, "n_fraction", image=image_array(106), label=label_array().astype(np.float32) * 0.5)
    add(folder, "n_twice", image=image_array(0), label=label_array())
    add(folder, "n_sparse", image=image_array(107), label=label_array(), affine=sparse)
    add(folder, "n_huge", image=image_array(108), label=label_array(), affine=np.diag([19.0, 19.0, 19.0, 1.0]))
    add(folder, "n_channels", image=np.concatenate([image_array(109), image_array(110)]), label=label_array())
    add(folder, "n_cut", image=image_array(111), label=label_array())
    cut = folder / "imagesTr/n_cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-200])
    return {
        "n_no_image": "no_image",
        "n_no_label": "no_label",
        "n_non_finite": "non_finite",
        "n_constant": "constant_image",
        "n_shape": "shape_mismatch",
        "n_affine": "affine_mismatch",
        "n_unknown": "unknown_label",
        "n_empty": "empty_label",
        "n_fraction": "not_integer",
        "n_twice": "duplicate",
        "n_sparse": "implausible_spacing",
        "n_huge": "implausible_size",
        "n_channels": "channel_mismatch",
        "n_cut": "unreadable",
    }


def test_each_bad_case_is_quarantined_for_its_own_reason(
    good: Path, settings: IngestSettings, task: SegmentationTask, add: Write, tmp_path: Path
) -> None:
    expected = spoil(good, add)
    report = ingest(good, tmp_path / "out", replace(settings, task=task, max_refused=0.9))
    assert reasons(tmp_path / "out", settings) == expected
    assert set(expected.values()) | {"bad_affine"} == set(CASE_REASONS)
    assert report.cases == 6
    assert report.reasons == dict.fromkeys(sorted(expected.values()), 1)
    text = (tmp_path / "out" / "quarantine.jsonl").read_text()
    assert not any(raw in text.replace(why, "") for raw, why in expected.items())
    assert str(tmp_path) not in text


def test_unknown_label_names_values_got_and_allowed(
    good: Path, settings: IngestSettings, task: SegmentationTask, add: Write, tmp_path: Path
) -> None:
    add(good, "odd", image=image_array(50), label=label_array(values=(1, 7)))
    ingest(good, tmp_path / "out", replace(settings, task=task))
    assert "got the label value(s) 7; allowed: 0, 1, 2" in (tmp_path / "out" / "quarantine.jsonl").read_text()


def stray_files(small: tuple[int, int, int] = (12, 10, 8)) -> dict[str, Volume]:
    spleen = np.zeros((1, 64, 64, 24), np.uint8)
    spleen[0, 20:30, 20:30, 8:12] = 1
    return {
        "hippocampus_010": Volume(label_array(small), np.eye(4)),
        "hippocampus_281": Volume(spleen, np.diag([5.9, 5.9, 20.0, 1.0])),
        "image_118_nolabel": Volume(image_array(118), np.eye(4)),
    }


@pytest.mark.parametrize("with_task", [True, False])
@pytest.mark.parametrize(
    "folders",
    [
        ("bad_samples", "bad_samples", "bad_samples"),
        ("labelsTr", "labelsTr", "imagesTr"),
        ("imagesTr", "imagesTr", "imagesTr"),
    ],
    ids=["bad_samples", "where they belong", "all among the images"],
)
def test_strays_get_the_right_distinct_reason_wherever_they_lie(
    good: Path,
    settings: IngestSettings,
    task: SegmentationTask,
    tmp_path: Path,
    folders: tuple[str, str, str],
    with_task: bool,
) -> None:
    for folder, (name, volume) in zip(folders, stray_files().items(), strict=True):
        (good / folder).mkdir(exist_ok=True)
        write_image(good / folder / f"{name}.nii.gz", volume)
    ingest(good, tmp_path / "out", replace(settings, task=task if with_task else None))
    got = {Path(raw).name.removesuffix(".nii.gz"): why for raw, why in reasons(tmp_path / "out", settings).items()}
    assert got == {
        "hippocampus_010": "no_image",
        "hippocampus_281": "implausible_size",
        "image_118_nolabel": "no_label",
    }


def test_the_same_image_in_other_axes_is_a_duplicate(
    good: Path, settings: IngestSettings, add: Write, tmp_path: Path
) -> None:
    flipped = np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[0, 3] = 11.0
    add(good, "z", image=image_array(0)[:, ::-1], label=label_array()[:, ::-1], affine=flipped)
    ingest(good, tmp_path / "out", settings)
    assert reasons(tmp_path / "out", settings) == {"z": "duplicate"}


def test_too_many_refused_leaves_nothing_but_the_reasons(
    good: Path, settings: IngestSettings, task: SegmentationTask, add: Write, tmp_path: Path
) -> None:
    expected = spoil(good, add)
    out = tmp_path / "out"
    with pytest.raises(DatasetRefusedError, match=r"14 of 20 cases failed.*70%.*limit is 20%.*--max-refused") as caught:
        ingest(good, out, replace(settings, task=task, max_refused=0.2))
    assert caught.value.exit_code == 1
    assert "shape_mismatch 1" in str(caught.value)
    assert not out.exists()
    kept = quarantine(tmp_path / "out.quarantine.jsonl")
    assert {read_map(settings.pseudonyms)[pseudonym]: why for pseudonym, why in kept.items()} == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.quarantine.jsonl", "site", "source"]


def test_a_refused_run_leaves_the_older_dataset_and_a_good_one_takes_the_refusal_away(
    good: Path, settings: IngestSettings, add: Write, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ingest(good, out, settings)
    before = files(out)
    add(good, "bad", image=image_array(1), label=label_array(values=()))
    with pytest.raises(DatasetRefusedError):
        ingest(good, out, replace(settings, max_refused=0.1))
    assert files(out) == before
    ingest(good, out, settings)
    assert files(out) != before
    assert not (tmp_path / "out.quarantine.jsonl").exists()


def test_nothing_left_is_refused_whatever_the_limit(settings: IngestSettings, add: Write, tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / "source" / part).mkdir(parents=True)
    add(tmp_path / "source", "lone", label=label_array())
    with pytest.raises(DatasetRefusedError, match="no case passed its checks, 1 were refused: no_image 1"):
        ingest(tmp_path / "source", tmp_path / "out", replace(settings, max_refused=1.0))


def test_what_a_killed_run_left_is_mended(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest(good, out, settings)
    out.rename(tmp_path / ".out.older")  # killed between the two renames
    (tmp_path / ".out.staging" / "images").mkdir(parents=True)
    (good / "bad_samples").mkdir()
    for number in range(9):
        (good / f"bad_samples/{number}.nii.gz").write_bytes(b"x")
    with pytest.raises(DatasetRefusedError):
        ingest(good, out, settings)
    assert len(Dataset.read(out).cases) == 6
    assert not list(tmp_path.glob(".out*"))


def test_ingesting_again_gives_the_same_bytes(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    ingest(good, tmp_path / "one", settings)
    ingest(good, tmp_path / "two", settings)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_another_secret_changes_pseudonyms_but_neither_splits_nor_order_nor_digest(
    good: Path, settings: IngestSettings, tmp_path: Path
) -> None:
    ingest(good, tmp_path / "one", settings)
    ingest(good, tmp_path / "two", replace(settings, secret=b"t" * 32))
    one, two = Dataset.read(tmp_path / "one"), Dataset.read(tmp_path / "two")
    assert {case.id for case in one.cases}.isdisjoint(case.id for case in two.cases)
    assert [(case.digest, case.split) for case in one.cases] == [(case.digest, case.split) for case in two.cases]
    assert one.digest == two.digest


def test_adding_cases_moves_nobody(good: Path, settings: IngestSettings, add: Write, tmp_path: Path) -> None:
    ingest(good, tmp_path / "one", settings)
    for seed in range(20, 30):
        add(good, f"new_{seed}", image=image_array(seed), label=label_array())
    ingest(good, tmp_path / "two", settings)
    later = {case.id: case.split for case in Dataset.read(tmp_path / "two").cases}
    assert len(later) == 16
    assert all(later[case.id] == case.split for case in Dataset.read(tmp_path / "one").cases)


def test_scans_of_one_patient_stay_together(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    everybody = {f"good_{seed}": f"patient {seed // 3}" for seed in range(6)}
    split = SplitSettings(validation=0.3, test=0.3)
    report = ingest(good, tmp_path / "out", replace(settings, patients=everybody, split=split))
    assert report.patients == 2
    splits: dict[str, set[str]] = {}
    for case in Dataset.read(tmp_path / "out").cases:
        splits.setdefault(case.patient, set()).add(case.split)
    assert sorted(len(found) for found in splits.values()) == [1, 1]
    with pytest.raises(InvalidInputError, match="misses 1 of 6"):
        ingest(
            good, tmp_path / "out", replace(settings, patients={k: v for k, v in everybody.items() if k != "good_2"})
        )


def test_unlabelled_images_are_accepted_without_a_task_only(
    settings: IngestSettings, task: SegmentationTask, tmp_path: Path
) -> None:
    (tmp_path / "flat").mkdir()
    for seed in range(3):
        write_image(tmp_path / f"flat/scan{seed}.nii.gz", Volume(image_array(seed), np.eye(4)))
    ingest(tmp_path / "flat", tmp_path / "out", settings)
    dataset = Dataset.read(tmp_path / "out")
    assert [case.label for case in dataset.cases] == [None] * 3
    with pytest.raises(DataError, match="has no label"):
        dataset.label(dataset.cases[0])
    with pytest.raises(DatasetRefusedError, match="no_label 3"):
        ingest(tmp_path / "flat", tmp_path / "out2", replace(settings, task=task))


def test_channel_files_become_one_image(settings: IngestSettings, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for part in ("imagesTr", "labelsTr"):
        (source / part).mkdir(parents=True)
    for case in "abc":
        for channel in (0, 1):
            array = image_array(ord(case) * 10 + channel)
            write_image(source / f"imagesTr/{case}_{channel:04d}.nii.gz", Volume(array, np.eye(4)))
        write_image(source / f"labelsTr/{case}.nii.gz", Volume(label_array(), np.eye(4)))
    (source / "imagesTr/c_0001.nii.gz").rename(source / "imagesTr/c_0002.nii.gz")
    ingest(source, tmp_path / "out", settings)
    dataset = Dataset.read(tmp_path / "out")
    assert [dataset.image(case).array.shape for case in dataset.cases] == [(2, 12, 10, 8)] * 2
    assert reasons(tmp_path / "out", settings) == {"c": "channel_mismatch"}


def test_a_strangers_folder_is_never_replaced(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="not a prepared dataset"):
        ingest(good, tmp_path / "mine", settings)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InvalidInputError, match="holds the source"):
        ingest(good, tmp_path, settings)


def test_an_empty_split_is_warned_of(good: Path, settings: IngestSettings, tmp_path: Path) -> None:
    split = SplitSettings(validation=1e-9, test=0)
    report = ingest(good, tmp_path / "out", replace(settings, split=split))
    assert report.warnings == ("the split 'validation' is empty; ingest more patients, or try another --split-seed",)
