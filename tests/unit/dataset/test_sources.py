import json
from pathlib import Path

import pytest

from radfed.dataset.sources import Source, find_cases
from radfed.errors import InvalidInputError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def pairs(source: Source) -> dict[str, tuple[tuple[str, ...], str | None]]:
    return {
        case.id: (tuple(p.name for p in case.images), case.label.name if case.label else None) for case in source.cases
    }


def test_msd_folder_without_datalist(tmp_path: Path) -> None:
    touch(
        tmp_path, "imagesTr/b.nii.gz", "imagesTr/a.nii", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "imagesTs/t.nii.gz"
    )
    assert pairs(find_cases(tmp_path)) == {"a": (("a.nii",), "a.nii.gz"), "b": (("b.nii.gz",), "b.nii.gz")}


def test_images_and_labels_with_orphans_on_both_sides(tmp_path: Path) -> None:
    touch(
        tmp_path, "images/a.nii.gz", "labels/a.nii.gz", "images/only.nii.gz", "labels/lone.nii.gz", "images/README.md"
    )
    found = find_cases(tmp_path)
    assert pairs(found) == {
        "a": (("a.nii.gz",), "a.nii.gz"),
        "lone": ((), "lone.nii.gz"),
        "only": (("only.nii.gz",), None),
    }
    assert found.labelled


def test_leftovers_of_systems_are_ignored(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.nii.gz", "imagesTr/._a.nii.gz", "labelsTr/a.nii.gz", "labelsTr/.DS_Store")
    assert list(pairs(find_cases(tmp_path))) == ["a"]


def test_nnunet_channels_go_together(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/p1_0001.nii.gz", "imagesTr/p1_0000.nii.gz", "labelsTr/p1.nii.gz")
    found = find_cases(tmp_path)
    assert pairs(found) == {"p1": (("p1_0000.nii.gz", "p1_0001.nii.gz"), "p1.nii.gz")}
    assert found.cases[0].channels == (0, 1)


def test_a_number_in_the_id_is_no_channel_when_the_label_has_it_too(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{part}/scan_{n:04d}.nii.gz" for part in ("imagesTr", "labelsTr") for n in range(3)])
    assert sorted(pairs(find_cases(tmp_path))) == ["scan_0000", "scan_0001", "scan_0002"]


def test_unlabelled_numbers_are_channels_only_if_they_are_as_many_as_the_task_has(tmp_path: Path) -> None:
    touch(tmp_path, "images/scan_0000.nii.gz", "images/scan_0001.nii.gz")
    assert sorted(pairs(find_cases(tmp_path, channels=1))) == ["scan_0000", "scan_0001"]
    assert list(pairs(find_cases(tmp_path, channels=2))) == ["scan"]


def test_flat_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "a_seg.nii.gz", "b-image.nii.gz", "b-label.nii", "c.nii.gz")
    assert pairs(find_cases(tmp_path)) == {
        "a": (("a.nii.gz",), "a_seg.nii.gz"),
        "b": (("b-image.nii.gz",), "b-label.nii"),
        "c": (("c.nii.gz",), None),
    }


def test_strays_are_listed_and_never_paired(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTr/x.nii.gz", "bad_samples/x.nii.gz")
    found = {case.id: case for case in find_cases(tmp_path).cases}
    assert found["x"].label is None
    assert found["bad_samples/x.nii.gz"].place == "stray"


def test_datalist_pairs_files_of_different_names(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/scan_7.nii.gz", "labelsTr/truth_7.nii.gz", "imagesTr/b.nii.gz", "labelsTr/b.nii.gz")
    listed = [{"image": "./imagesTr/scan_7.nii.gz", "label": "./labelsTr/truth_7.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed, "test": ["./imagesTs/t.nii.gz"]}))
    assert pairs(find_cases(tmp_path)) == {
        "b": (("b.nii.gz",), "b.nii.gz"),
        "scan_7": (("scan_7.nii.gz",), "truth_7.nii.gz"),
    }


def test_what_the_datalist_names_and_nobody_has_shows(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    listed = [{"image": "imagesTr/gone.nii.gz", "label": "labelsTr/gone.nii.gz"}]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}))
    assert sorted(pairs(find_cases(tmp_path))) == ["a", "gone"]


def test_datalist_may_not_point_outside(tmp_path: Path) -> None:
    touch(tmp_path, "source/imagesTr/a.nii.gz", "secret.nii.gz")
    listed = [{"image": "../secret.nii.gz", "label": "../secret.nii.gz"}]
    (tmp_path / "source/dataset.json").write_text(json.dumps({"training": listed}))
    with pytest.raises(InvalidInputError, match="outside the source folder"):
        find_cases(tmp_path / "source")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_broken_datalist_is_named(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "imagesTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InvalidInputError, match=r"dataset\.json.*mend it"):
        find_cases(tmp_path)


def test_one_stem_in_two_packings_loses_neither(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.nii", "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "labelsTr/a.nii")
    found = find_cases(tmp_path).cases
    assert len({case.id for case in found}) == len(found)
    assert sum(len(case.images) + (case.label is not None) for case in found) == 4


def test_folder_without_images_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="imagesTr/ and labelsTr/"):
        find_cases(tmp_path)
    with pytest.raises(InvalidInputError, match="is not a folder"):
        find_cases(tmp_path / "none")


def test_label_names_of_msd_and_of_nnunet(tmp_path: Path) -> None:
    touch(tmp_path, "imagesTr/a.nii.gz")
    for labels in ({"0": "background", "1": "liver"}, {"background": 0, "liver": 1}):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        assert find_cases(tmp_path).label_names == {1: "liver"}
