"""The rasteriser against shapes whose area is known, and against a slow even-odd test of each centre."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from radfed.imaging.objects.rasterise import rasterise

Points = NDArray[np.float64]


def circle(centre: tuple[float, float], radius: tuple[float, float], points: int = 720) -> Points:
    angle = np.linspace(0, 2 * math.pi, points, endpoint=False)
    return np.stack([centre[0] + radius[0] * np.cos(angle), centre[1] + radius[1] * np.sin(angle)], axis=1)


def rectangle(low: tuple[float, float], high: tuple[float, float]) -> Points:
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])], dtype=np.float64)


def slow_even_odd(contours: list[Points], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Each centre on its own: the parity of edges that a ray to the right crosses."""
    mask = np.zeros(shape, dtype=np.bool_)
    for i, j in np.ndindex(shape):
        for contour in contours:
            for (x0, y0), (x1, y1) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
                if (y0 > j) != (y1 > j) and i < x0 + (j - y0) * (x1 - x0) / (y1 - y0):
                    mask[i, j] = not mask[i, j]
    return mask


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0), (1.7, 0.4)], ids=str)
def test_area_of_a_circle_is_right_on_pixels_that_are_not_square(spacing: tuple[float, float]) -> None:
    radius = 45.0
    shape = (int(110 / spacing[0]), int(110 / spacing[1]))
    ring = circle((54.3 / spacing[0], 55.1 / spacing[1]), (radius / spacing[0], radius / spacing[1]))
    area = rasterise([ring], shape).sum() * spacing[0] * spacing[1]
    assert area == pytest.approx(math.pi * radius**2, rel=0.01)


def test_a_square_between_centres_fills_exactly_the_centres_within() -> None:
    mask = rasterise([rectangle((2.5, 3.5), (7.5, 5.5))], (10, 9))
    wanted = np.zeros((10, 9), dtype=np.bool_)
    wanted[3:8, 4:6] = True
    np.testing.assert_array_equal(mask, wanted)


def test_a_square_through_centres_takes_its_low_sides_and_leaves_its_high_ones() -> None:
    # Points as some tools write them, a hair beside the centre.
    noisy = rectangle((2, 3), (7, 5)) + np.array([[1e-9, -1e-9], [-1e-9, 1e-9], [1e-9, 1e-9], [-1e-9, -1e-9]])
    wanted = np.zeros((10, 9), dtype=np.bool_)
    wanted[2:7, 3:5] = True
    np.testing.assert_array_equal(rasterise([noisy], (10, 9)), wanted)


def test_neighbours_with_a_common_edge_neither_share_nor_lose_a_voxel() -> None:
    corner = np.array([[1.0, 1.0], [11.0, 2.0], [9.0, 10.0], [2.0, 9.0]])
    middle = np.array([6.0, 5.0])
    triangles = [np.array([corner[k], corner[(k + 1) % 4], middle]) for k in range(4)]
    parts = [rasterise([triangle], (13, 12)) for triangle in triangles]
    assert np.sum(parts, axis=0).max() == 1
    np.testing.assert_array_equal(np.any(parts, axis=0), rasterise([corner], (13, 12)))


def test_a_contour_within_another_is_a_hole() -> None:
    mask = rasterise([circle((50, 50), (40, 40)), circle((50, 50), (20, 20))], (100, 100))
    assert mask.sum() == pytest.approx(math.pi * (40**2 - 20**2), rel=0.01)
    assert not mask[50, 50]


def test_a_keyhole_contour_is_a_ring() -> None:
    outer, inner = circle((50, 50), (40, 40)), circle((50, 50), (20, 20))[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, inner[-1:]])
    two = rasterise([outer, inner], (100, 100))
    # The way in and the way out enclose nothing, so that no voxel differs.
    assert np.count_nonzero(rasterise([keyhole], (100, 100)) != two) == 0


def test_two_blobs_are_both_filled() -> None:
    one, other = rectangle((0.5, 0.5), (3.5, 3.5)), rectangle((5.5, 5.5), (8.5, 7.5))
    assert rasterise([one, other], (10, 10)).sum() == 9 + 6


def test_what_lies_outside_is_cut_off() -> None:
    assert rasterise([rectangle((-100, -50), (300, 400))], (7, 5)).all()
    assert not rasterise([rectangle((10, 10), (20, 20))], (7, 5)).any()
    assert not rasterise([rectangle((-20, -20), (-10, -10))], (7, 5)).any()


def test_direction_and_start_of_a_contour_do_not_matter() -> None:
    points = np.random.default_rng(5).uniform(0, 30, (11, 2))
    wanted = rasterise([points], (31, 29))
    np.testing.assert_array_equal(rasterise([points[::-1]], (31, 29)), wanted)
    np.testing.assert_array_equal(rasterise([np.roll(points, 4, axis=0)], (31, 29)), wanted)


@pytest.mark.parametrize("seed", range(6))
def test_random_crossing_polygons_equal_a_slow_test_of_each_centre(seed: int) -> None:
    random = np.random.default_rng(seed)
    contours = [random.uniform(-4, 24, (int(random.integers(3, 12)), 2)) for _ in range(3)]
    np.testing.assert_array_equal(rasterise(contours, (21, 17)), slow_even_odd(contours, (21, 17)))
