from pathlib import Path

import pytest

from radfed.inference.dicom_inputs import relative_name, unique_names


@pytest.mark.parametrize(
    ("source", "files", "name"),
    [
        ("in", ["in/a/1.dcm", "in/a/2.dcm"], "a"),
        ("in", ["in/p/s/1.dcm", "in/p/s/2.dcm"], "p-s"),
        ("in", ["in/p/t1/1.dcm", "in/p/t2/1.dcm"], "p"),
        ("in", ["in/1.dcm", "in/2.dcm"], "in"),
        ("in", ["in/a/1.dcm", "in/b/2.dcm"], "in"),
        ("in", ["in/p/scan.dcm"], "p-scan"),
        ("in", ["in/p/SCAN.IMA"], "p-SCAN"),
        ("in", ["in/CT.1.2.840.113"], "CT.1.2.840.113"),
        ("in", ["in/CT.1.2.840.114"], "CT.1.2.840.114"),
    ],
)
def test_results_are_named_after_the_file_or_the_folder_of_the_series(
    tmp_path: Path, source: str, files: list[str], name: str
) -> None:
    (tmp_path / source).mkdir()
    assert relative_name(tmp_path / source, [tmp_path / file for file in files]) == name


def test_a_single_file_gives_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "scan.dcm"
    path.parent.mkdir()
    path.touch()
    assert relative_name(path, [path]) == "scan"


def test_a_deep_tree_gives_a_name_that_a_file_can_have(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["ü" * 60] * 5, "last")
    name = relative_name(tmp_path, [folder / "1.dcm", folder / "2.dcm"])
    assert name.endswith("ü-last")
    assert len(f".{name}.nii.gz.{'0' * 8}".encode()) < 255


@pytest.mark.parametrize(
    ("wanted", "taken", "names"),
    [
        ([("a", 1), ("b", 1)], [], ["a", "b"]),
        ([("a", 2), ("a", 7), ("b", None)], [], ["a-2", "a-7", "b"]),
        ([("a", 2), ("a", 2)], [], ["a-2-1", "a-2-2"]),
        ([("a", None), ("a", None)], [], ["a-1", "a-2"]),
        ([("a", None), ("a", None)], ["a-1"], ["a-2", "a-3"]),
        ([("a", 3)], ["a"], ["a-3"]),
        ([("a", None)], ["a"], ["a-1"]),
        ([("a", 1), ("a", 2), ("a-1", 5)], [], ["a-1-1", "a-2", "a-1-2"]),
    ],
)
def test_names_differ(wanted: list[tuple[str, int | None]], taken: list[str], names: list[str]) -> None:
    got = unique_names(wanted, taken)
    assert got == names
    assert len({*got, *taken}) == len(got) + len(taken)
