"""Where slices lie, and the proof that they make a regular grid. Positions are LPS as in DICOM; affines are RAS+."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.dicom.frames import Frame

SAME_ORIENTATION = 1e-4
SAME_SPACING = 1e-4
SAME_POSITION_MM = 0.005
REGULAR_MM = 0.01
REGULAR_SHARE = 0.01
STRAIGHT = 1e-3
"""Largest sine between the stack's direction and the normal of its slices; more is a tilt. As in ``nifti``."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Slices of one orientation, gathered by place.

    Attributes:
        levels: for each place along the normal the numbers of the slices that lie there.
        points: ``(levels, 3)`` where each level's first pixel lies (LPS, mm).
        rows: direction in which the column index grows (LPS).
        columns: direction in which the row index grows (LPS).
        pixel_spacing: distance of rows, and of columns (mm).
    """

    levels: tuple[tuple[int, ...], ...]
    points: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    pixel_spacing: tuple[float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Along which the levels are sorted (LPS)."""
        return np.cross(self.rows, self.columns)

    @property
    def heights(self) -> NDArray[np.float64]:
        """``(levels,)`` distance of each level along the normal (mm)."""
        return np.asarray(self.points @ self.normal)

    @property
    def distances(self) -> NDArray[np.float64]:
        """``(levels - 1,)`` between neighbouring levels along the normal (mm)."""
        return np.diff(self.heights)


def stack(frames: Sequence[Frame]) -> Stack:
    """Gather slices by place, sorted along the normal.

    Raises:
        DataError: ``missing_geometry``, ``mixed_orientation``, ``mixed_spacing`` or ``overlapping_slices``.
    """
    positions = np.array([_checked(frame.position, 3, "position") for frame in frames])
    directions = np.array([_checked(frame.orientation, 6, "orientation") for frame in frames])
    spacings = np.array([_checked(frame.pixel_spacing, 2, "pixel spacing") for frame in frames])
    if spacings.min() <= 0:
        raise DataError("missing_geometry", f"the pixel spacing must be above 0 mm, got {spacings.min():g}")
    rows, columns = directions[0, :3], directions[0, 3:]
    lengths = (float(np.linalg.norm(rows)), float(np.linalg.norm(columns)))
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(float(rows @ columns)) > 1e-2:
        raise DataError("missing_geometry", "the orientation is not two unit vectors at right angles")
    apart = float(np.abs(directions - directions[0]).max())
    if apart > SAME_ORIENTATION:
        raise DataError(
            "mixed_orientation",
            f"direction cosines differ by up to {apart:.2g} between slices (allowed {SAME_ORIENTATION:g})",
        )
    if float((np.abs(spacings - spacings[0]) / spacings[0]).max()) > SAME_SPACING:
        raise DataError(
            "mixed_spacing",
            f"pixel spacings from {spacings.min():.4g} to {spacings.max():.4g} mm; a volume needs one",
        )
    rows = rows / lengths[0]
    columns = columns / lengths[1]
    heights = positions @ np.cross(rows, columns)
    order = np.argsort(heights, kind="stable")
    starts = np.flatnonzero(np.diff(heights[order], prepend=-np.inf) > SAME_POSITION_MM)
    levels = tuple(tuple(int(number) for number in level) for level in np.split(order, starts[1:]))
    spread = max(float(np.ptp(positions[list(level)], axis=0).max()) for level in levels)
    if spread > REGULAR_MM:
        raise DataError("overlapping_slices", f"slices in one plane are shifted by up to {spread:.3g} mm")
    points = np.array([positions[level[0]] for level in levels])
    return Stack(levels, points, rows, columns, (float(spacings[0, 0]), float(spacings[0, 1])))


def tolerance(distance: float) -> float:
    """How far a slice may lie from its place in a regular stack (mm)."""
    return max(REGULAR_MM, REGULAR_SHARE * distance)


def is_regular(frames: Sequence[Frame]) -> bool:
    """Whether slices make a regular stack, every place equally often; a tilt is regular."""
    try:
        gathered = stack(frames)
        check_distances(gathered)
    except DataError:
        return False
    return len({len(level) for level in gathered.levels}) == 1


def check_distances(gathered: Stack) -> None:
    """Refuse slices whose distances along the normal vary.

    Raises:
        DataError: ``gap``.
    """
    heights = gathered.heights
    if len(heights) < 3:
        return
    ideal = np.linspace(heights[0], heights[-1], len(heights))
    worst = float(np.abs(heights - ideal).max())
    if worst > tolerance(float(ideal[1] - ideal[0])):
        distances = gathered.distances
        raise DataError(
            "gap",
            f"distances between slices from {distances.min():.4g} to {distances.max():.4g} mm, the middle one is "
            f"{float(np.median(distances)):.4g} mm: slices are missing, or several stacks are mixed",
        )


def step(gathered: Stack, levels: int) -> NDArray[np.float64]:
    """``(3,)`` from one level to the next (LPS, mm), of a stack that has this many levels, missing ones included.

    Raises:
        DataError: ``tilt`` if the first pixels do not lie on one line.
    """
    whole = gathered.points[-1] - gathered.points[0]
    share = (gathered.heights - gathered.heights[0]) / (gathered.heights[-1] - gathered.heights[0])
    apart = gathered.points - (gathered.points[0] + share[:, np.newaxis] * whole)
    worst = float(np.linalg.norm(apart, axis=1).max())
    one = np.asarray(whole / (levels - 1))
    if worst > tolerance(float(np.linalg.norm(one))):
        raise DataError("tilt", f"the slices are shifted against each other by up to {worst:.3g} mm, not along a line")
    return one


def shear(gathered: Stack, one: NDArray[np.float64]) -> tuple[float, float]:
    """How far each slice is shifted against the one before: along the column index and the row index (pixels)."""
    along_rows, along_columns = float(one @ gathered.rows), float(one @ gathered.columns)
    return along_rows / gathered.pixel_spacing[1], along_columns / gathered.pixel_spacing[0]


def check_upright(gathered: Stack, one: NDArray[np.float64]) -> None:
    """Refuse a stack that leans by more than ``STRAIGHT``.

    Raises:
        DataError: ``tilt``.
    """
    lean = one - (one @ gathered.normal) * gathered.normal
    sine = float(np.linalg.norm(lean) / np.linalg.norm(one))
    if sine > STRAIGHT:
        raise DataError(
            "tilt",
            f"the stack leans {np.degrees(np.arcsin(min(1.0, sine))):.2f} degrees from its slices' normal, as with a "
            "tilted gantry; correct_tilt resamples it",
        )


def affine(origin: NDArray[np.float64], gathered: Stack, one: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(4, 4)`` column index, row index, level to RAS+ (mm); PS3.3 C.7.6.2.1.1 with x and y turned round."""
    matrix = np.eye(4)
    matrix[:3, 0] = LPS_TO_RAS @ gathered.rows * gathered.pixel_spacing[1]
    matrix[:3, 1] = LPS_TO_RAS @ gathered.columns * gathered.pixel_spacing[0]
    matrix[:3, 2] = LPS_TO_RAS @ one
    matrix[:3, 3] = LPS_TO_RAS @ origin
    return matrix


def _checked(values: tuple[float, ...] | None, count: int, name: str) -> tuple[float, ...]:
    if values is None or len(values) != count:
        raise DataError("missing_geometry", f"a slice has no {name}, or not {count} finite numbers")
    return values
