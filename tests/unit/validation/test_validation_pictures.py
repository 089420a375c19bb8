from collections.abc import Callable
from typing import Literal

import nibabel as nib
import numpy as np
import pytest

from radfed.dataset.layout import Dataset
from radfed.imaging.nifti import to_ras
from radfed.imaging.volume import Volume
from radfed.inference.sliding_window import Predictor
from radfed.task import SegmentationTask
from radfed.validation.drawing import Picture
from radfed.validation.evaluate import evaluate
from radfed.validation.pictures import (
    AXIAL,
    CORONAL,
    PLANES,
    SAGITTAL,
    Plane,
    choose_failures,
    choose_sample,
    draw_case,
    picture_cases,
)
from radfed.validation.results import CaseResult, Evaluation

TOWARDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
Edge = Literal["left", "right", "top", "bottom"]


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane.name)
@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIL"])
def test_each_letter_stands_where_that_side_of_the_patient_is(plane: Plane, codes: str) -> None:
    orientation = nib.orientations.axcodes2ornt(codes)
    affine = np.linalg.inv(nib.orientations.inv_ornt_aff(orientation, (9, 9, 9)))
    assert "".join(nib.aff2axcodes(affine)) == codes
    for edge, letter in zip(("left", "right", "top", "bottom"), plane.letters, strict=True):
        axis, direction = TOWARDS[letter]
        patient = np.zeros((9, 9, 9), dtype=np.float32)
        where: list[int | slice] = [4, 4, 4]
        where[axis] = 8 if direction > 0 else 0
        patient[tuple(where)] = 1.0
        stored = nib.orientations.apply_orientation(
            patient, nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), orientation)
        )
        ras = to_ras(Volume(stored[None], affine)).array[0]
        row, column = np.argwhere(plane.cut(ras, 4) == 1.0)[0]
        assert {"left": column == 0, "right": column == 8, "top": row == 0, "bottom": row == 8}[edge]


def test_planes_are_shown_as_radiologists_look_at_them() -> None:
    assert AXIAL.letters == ("R", "L", "A", "P")
    assert CORONAL.letters == ("R", "L", "S", "I")
    assert SAGITTAL.letters == ("A", "P", "S", "I")


def test_failures_are_the_lowest_of_all_sites_and_no_more_than_a_third(
    make_case: Callable[..., CaseResult], make_evaluation: Callable[..., Evaluation]
) -> None:
    cases = [make_case("a", i, d) for i, d in enumerate((0.9, 0.2, 0.6, 0.7, 0.8))]
    cases += [make_case("b", 0, 0.5), make_case("c", 0, 0.4), make_case("c", 1, 0.3)]
    assert [case.labels[0].dice for case in choose_failures(make_evaluation(*cases))] == [0.2, 0.3, 0.4]
    assert [case.labels[0].dice for case in choose_failures(make_evaluation(*cases), most=2)] == [0.2, 0.3]
    assert len(choose_failures(make_evaluation(cases[0]))) == 1


def test_the_sample_is_drawn_by_lot_and_knows_no_score(
    make_case: Callable[..., CaseResult], make_evaluation: Callable[..., Evaluation]
) -> None:
    def drawn(scores: list[float], seed: int = 0) -> list[str]:
        cases = [make_case("a", i, d) for i, d in enumerate(scores)]
        return [case.digest for case in choose_sample(make_evaluation(*cases), seed=seed)]

    rising = [i / 30 for i in range(30)]
    assert drawn(rising) == drawn(rising[::-1])
    assert len(set(drawn(rising))) == 6
    picked = [digest for seed in range(300) for digest in drawn(rising, seed)]
    counts = [picked.count(digest) for digest in {f"a-{i}" for i in range(30)}]
    assert min(counts) > 35
    assert max(counts) < 90


def test_pictures_are_drawn_from_masks_made_again(
    task: SegmentationTask, datasets: tuple[Dataset, ...], make_predictor: Callable[[float], Predictor]
) -> None:
    predict = make_predictor(1.0)
    found = evaluate(predict, task, datasets[1:2])
    pictures = picture_cases(found, datasets, task, predict)
    assert [shown.choice for shown in pictures] == ["failure"] * 2 + ["random"] * 4
    assert pictures[0].dice is not None
    assert pictures[1].dice is not None
    assert pictures[0].dice <= pictures[1].dice
    assert {shown.case for shown in pictures[2:]} == {case.case for case in found.cases}
    same = {shown.case: shown.picture for shown in pictures[2:]}
    assert all(same[shown.case] is shown.picture for shown in pictures[:2]), "a case is segmented once"
    for shown in pictures:
        assert shown.picture.uri.startswith("data:image/png;base64,")
        assert shown.case in shown.picture.alt


def test_empty_masks_can_be_drawn_and_outlines_change_the_picture() -> None:
    image = Volume(np.random.default_rng(0).normal(size=(1, 12, 14, 10)).astype(np.float32), np.diag([2.0, 1, 1, 1]))
    empty = np.zeros(image.shape, dtype=np.uint8)
    ball = empty.copy()
    ball[3:8, 4:9, 2:6] = 3
    drawn: list[Picture] = [
        draw_case(image, reference, prediction, (3,), "a case")
        for reference, prediction in ((empty, empty), (ball, empty), (empty, ball), (ball, ball))
    ]
    assert len({shown.uri for shown in drawn}) == 4
