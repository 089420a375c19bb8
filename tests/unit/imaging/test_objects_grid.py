"""Placing one grid in another: every order and direction of axes, and nothing that would need resampling."""

from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.objects.grid import place, reorient_label, same_grid
from radfed.imaging.volume import Volume

SHAPE = (5, 6, 7)
TURNS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def oblique() -> NDArray[np.float64]:
    angle = 0.7  # close to 45 degrees, where the nearest anatomical axis is a toss-up
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.8, 2.5])
    affine[:3, 3] = (12.5, -30.25, 101.0)
    return affine


def turned(volume: Volume, axes: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """The same voxels at the same places, with axes in another order and direction."""
    array, affine = volume.array, volume.affine.copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            array = np.flip(array, 1 + axis)
            affine[:3, 3] += affine[:3, axis] * (volume.shape[axis] - 1)
            affine[:3, axis] *= -1
    order = [*axes, 3]
    return Volume(array.transpose(0, *[1 + axis for axis in axes]), affine[:, order])


@pytest.mark.parametrize(("axes", "signs"), TURNS, ids=str)
def test_a_label_is_brought_back_from_any_order_and_direction_of_its_axes(
    axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    label = Volume(np.random.default_rng(1).integers(0, 5, (1, *SHAPE), dtype=np.uint8), oblique())
    moved = turned(label, axes, signs)
    assert same_grid(moved, label)
    back = reorient_label(moved, label)
    np.testing.assert_array_equal(back.array, label.array)
    np.testing.assert_array_equal(back.affine, label.affine)


def test_a_part_of_a_grid_is_placed_by_its_corner_and_voxels() -> None:
    whole = np.random.default_rng(2).random((1, *SHAPE)) < 0.5
    part = Volume(whole[:, 1:4, 2:6, 3:5], oblique().copy())
    part.affine[:3, 3] = (oblique() @ [1, 2, 3, 1])[:3]
    moved = turned(part, (2, 0, 1), (1, -1, -1))
    placement = place(moved.affine, moved.shape, oblique(), 0.01)
    assert placement is not None
    corner, voxels = placement.box((0, 0, 0), moved.array[0])
    assert corner == (1, 2, 3)
    np.testing.assert_array_equal(voxels, part.array[0])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("half a voxel", "affine_mismatch"),
        ("a whole voxel", "affine_mismatch"),
        ("spacing", "affine_mismatch"),
        ("turn", "affine_mismatch"),
        ("mirror", "affine_mismatch"),
        ("singular", "affine_mismatch"),
        ("shape", "shape_mismatch"),
    ],
)
def test_a_label_that_lies_elsewhere_is_refused(change: str, reason: str) -> None:
    grid = Volume(np.zeros((1, *SHAPE), dtype=np.uint8), oblique())
    affine, array = oblique(), grid.array
    match change:
        case "half a voxel":
            affine[0, 3] += 0.35
        case "a whole voxel":
            affine[:3, 3] += affine[:3, 0]
        case "spacing":
            affine[:3, 2] *= 1.01
        case "turn":
            affine[:3, :3] = affine[:3, :3] @ np.array([[0.999, -0.0447, 0], [0.0447, 0.999, 0], [0, 0, 1.0]])
        case "mirror":
            affine[:3, 0] *= -1  # without moving the corner: the label of another side
        case "singular":
            affine[:3, 1] = 0
        case "shape":
            array = array[:, :-1]
    label = Volume(array, affine)
    assert not same_grid(label, grid)
    with pytest.raises(DataError, match="the label") as caught:
        reorient_label(label, grid)
    assert caught.value.reason == reason


def test_header_noise_below_the_tolerance_is_forgiven() -> None:
    grid = Volume(np.zeros((1, *SHAPE), dtype=np.uint8), oblique())
    assert same_grid(Volume(grid.array, oblique() + 1e-4), grid)
