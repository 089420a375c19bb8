"""Which label of a task a structure is: by code, then by name, and when that is in doubt or contradictory."""

from pathlib import Path

import numpy as np
import pytest

from radfed.errors import DataError
from radfed.imaging.objects.codes import PRIVATE_SCHEME, category_term, label_term, private_schemes, same_term
from radfed.imaging.objects.mapping import to_label
from radfed.imaging.objects.structure import Structure
from radfed.imaging.volume import Volume
from radfed.task import Code, Label, SegmentationTask

JOBS = Path(__file__).parents[3] / "jobs"
GRID = Volume(np.zeros((1, 6, 5, 4), dtype=np.int16), np.eye(4))
LIVER = Code(scheme="SCT", value="10200004", meaning="Liver")
SPLEEN = Code(scheme="SCT", value="78961009", meaning="Spleen")
KIDNEY = Code(scheme="SCT", value="64033007", meaning="Kidney")


def structure(name: str, code: Code | None, column: int, number: int = 1) -> Structure:
    mask = np.zeros(GRID.shape, dtype=np.bool_)
    mask[column, 1:4, 1:3] = True
    return Structure.of(name, code, number, mask)


def organs(*labels: Label) -> SegmentationTask:
    task = SegmentationTask.read(JOBS / "phantom_segmentation" / "task.yaml")
    return task.model_copy(update={"labels": labels}) if labels else task


def value_at(label: Volume, column: int) -> int:
    return int(label.array[0, column, 2, 2])


def test_a_structure_keeps_its_mask() -> None:
    mask = np.random.default_rng(3).random(GRID.shape) < 0.2
    np.testing.assert_array_equal(Structure.of("x", None, 1, mask).mask, mask)
    assert not Structure.of("x", None, 1, mask & False).mask.any()


def test_old_srt_codes_are_their_sct_successors() -> None:
    assert same_term(Code(scheme="SRT", value="T-62000", meaning="Liver"), LIVER)
    assert not same_term(Code(scheme="SRT", value="T-62000", meaning="Liver"), SPLEEN)
    assert not same_term(Code(scheme="99LOCAL", value="10200004", meaning="Liver"), LIVER)


def test_the_code_comes_before_the_name() -> None:
    label, names = to_label([structure("spleen", LIVER, 0), structure("whatever", SPLEEN, 1)], GRID, organs())
    assert (value_at(label, 0), value_at(label, 1)) == (1, 2)
    assert names == {1: "liver", 2: "spleen"}
    assert label.array.dtype == np.uint8
    assert label.array.shape == (1, *GRID.shape)


@pytest.mark.parametrize("name", ["Liver-Right Lobe", "LIVER_RIGHT_LOBE", "liver right lobe", "liverrightlobe"])
def test_names_and_aliases_are_compared_without_case_spaces_and_dashes(name: str) -> None:
    task = organs(Label(value=7, name="liver", aliases=("Liver Right-Lobe",)))
    label, names = to_label([structure(name, Code(scheme="SCT", value="85756007", meaning="Tissue"), 3)], GRID, task)
    assert value_at(label, 3) == 7
    assert names == {7: "liver"}


def test_the_name_decides_between_labels_of_one_code() -> None:
    task = organs(
        Label(value=1, name="left_kidney", code=KIDNEY),
        Label(value=2, name="right_kidney", code=KIDNEY, aliases=("Ren dexter",)),
    )
    label, _ = to_label([structure("ren Dexter", KIDNEY, 0), structure("Left Kidney", KIDNEY, 1)], GRID, task)
    assert (value_at(label, 0), value_at(label, 1)) == (2, 1)
    with pytest.raises(DataError, match="could be each of left_kidney, right_kidney") as caught:
        to_label([structure("kidney", KIDNEY, 0)], GRID, task)
    assert caught.value.reason == "unmapped_label"


def test_structures_that_the_task_does_not_know_are_left_out() -> None:
    label, names = to_label([structure("body", None, 0), structure("liver", None, 1)], GRID, organs())
    assert (value_at(label, 0), value_at(label, 1)) == (0, 1)
    assert names == {1: "liver"}


def test_nothing_known_is_refused_without_saying_what_people_wrote() -> None:
    with pytest.raises(DataError, match="none of 1 structures is one of the task's") as caught:
        to_label([structure("lesion of Mrs Example", None, 0)], GRID, organs())
    assert caught.value.reason == "unmapped_label"
    assert "Example" not in str(caught.value)
    with pytest.raises(DataError, match="no structure with an area"):
        to_label([], GRID, None)


def test_structures_of_one_label_are_joined() -> None:
    label, _ = to_label(
        [structure("liver", None, 0), structure("Liver", LIVER, 0), structure("liver", None, 1)], GRID, organs()
    )
    assert (label.array == 1).sum() == 12


def test_a_voxel_with_two_labels_is_refused() -> None:
    mask = np.zeros(GRID.shape, dtype=np.bool_)
    mask[0, 3, 2] = True
    with pytest.raises(DataError, match="liver and spleen share 1 voxels") as caught:
        to_label([structure("liver", None, 0), Structure.of("spleen", None, 2, mask)], GRID, organs())
    assert caught.value.reason == "overlapping_labels"
    label, _ = to_label([structure("liver", None, 0), Structure.of("other", None, 2, mask)], GRID, organs())
    assert (label.array != 0).sum() == 6


def test_without_a_task_structures_are_numbered_in_their_order() -> None:
    label, names = to_label([structure("b", None, 0, number=9), structure("a", None, 1, number=4)], GRID, None)
    assert (value_at(label, 0), value_at(label, 1)) == (2, 1)
    assert names == {1: "a", 2: "b"}
    many = [Structure.of(str(n), None, n, np.zeros(GRID.shape, dtype=np.bool_)) for n in range(1, 300)]
    assert to_label(many, GRID, None)[0].array.dtype == np.int16


def test_a_label_without_a_code_gets_one_of_the_private_scheme() -> None:
    coded, plain = Label(value=1, name="liver", code=LIVER), Label(value=3, name="thing")
    assert (label_term(coded).value, label_term(coded).scheme_designator) == ("10200004", "SCT")
    assert (label_term(plain).value, label_term(plain).scheme_designator) == ("3", PRIVATE_SCHEME)
    assert private_schemes((coded,)) == []
    assert [item.CodingSchemeDesignator for item in private_schemes((coded, plain))] == [PRIVATE_SCHEME]


@pytest.mark.parametrize(
    ("value", "category"),
    [("10200004", "91723000"), ("108369006", "49755003"), ("55603005", "85756007")],
    ids=["liver", "neoplasm", "fat"],
)
def test_the_category_follows_from_the_code(value: str, category: str) -> None:
    label = Label(value=1, name="x", code=Code(scheme="SCT", value=value, meaning="x"))
    assert category_term(label).value == category
