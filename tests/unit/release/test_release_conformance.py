from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest

from radfed.imaging.plausibility import check_geometry
from radfed.release.conformance import synthetic_cases
from radfed.task import Limits, SegmentationTask, Window

MakeTask = Callable[..., SegmentationTask]


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(min_size_mm=(15, 15, 15), max_size_mm=(80, 100, 80), min_spacing=0.3, max_spacing=2),
        Limits(min_size_mm=(40, 45, 50), max_size_mm=(50, 50, 60), min_spacing=1.1, max_spacing=1.2),
    ],
)
def test_made_up_scans_are_within_the_tasks_limits_and_differ_in_grid(make_task: MakeTask, limits: Limits) -> None:
    task = make_task(channels=2).model_copy(update={"limits": limits})
    cases = synthetic_cases(task)
    for case in cases:
        check_geometry(case, task.limits)
        assert all(channel.std() > 0 for channel in case.array)
    assert len({nib.aff2axcodes(case.affine) for case in cases}) == 3
    # The first two travel in the release.
    assert cases[0].shape != cases[1].shape


def test_made_up_scans_repeat(make_task: MakeTask) -> None:
    first, again = synthetic_cases(make_task()), synthetic_cases(make_task())
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.array, other.array)
        np.testing.assert_array_equal(one.affine, other.affine)


def test_made_up_scans_lie_in_the_tasks_window(make_task: MakeTask) -> None:
    task = make_task().model_copy(update={"intensity": Window(lower=-160.0, upper=240.0)})
    for case in synthetic_cases(task):
        inside = (case.array > -160) & (case.array < 240)
        assert inside.mean() > 0.3
