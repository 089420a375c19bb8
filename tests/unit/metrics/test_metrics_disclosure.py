"""Against a search over all small sets of patients, with linear equations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radfed.metrics.disclosure import gives_away, told_groups

Cells = NDArray[np.bool_]


def cells(size: int, *inside: int) -> Cells:
    found = np.zeros(size, dtype=bool)
    found[list(inside)] = True
    return found


def by_search(groups: list[Cells], patients: NDArray[np.int64]) -> bool:
    """Whether some combination of sums is zero on all cases but those of one or two patients, and not on all."""
    matrix = np.stack(groups, axis=1).astype(float)
    names = np.unique(patients)
    for one in names:
        for other in names:
            outside = matrix[~np.isin(patients, [one, other])]
            rank = np.linalg.matrix_rank(outside) if len(outside) else 0
            if rank < np.linalg.matrix_rank(matrix):
                return True
    return False


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([range(20)], False),
        ([range(20), range(17)], False),
        ([range(20), range(18)], True),
        ([range(20), range(19)], True),
        # A site, and a vendor that has the site's scanners and those of two patients elsewhere.
        ([range(20), range(10), range(12)], True),
        # Two groups together lack one patient of a third.
        ([range(6), range(6, 12), range(13)], True),
        ([range(6), range(6, 12), range(15)], False),
        ([], False),
    ],
)
def test_small_groups_are_found_by_subtraction(groups: list[range], expected: bool) -> None:
    assert gives_away([cells(20, *group) for group in groups], np.arange(20)) is expected


def test_one_patient_with_scans_of_several_kinds_is_found() -> None:
    """All less the shown sites is the hidden site's one patient, whose scans are spread over four kinds of cases."""
    site, sex, vendor = (part.ravel() for part in np.indices((7, 2, 2)))
    groups = [np.ones(28, dtype=bool), *(site == shown for shown in range(6)), sex == 1, vendor == 1]
    patients = np.where(site == 6, 0, np.arange(1, 29))
    assert by_search(groups, patients)
    assert gives_away(groups, patients)


@settings(max_examples=40, deadline=None)
@given(
    cases=st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), min_size=3, max_size=26
    )
)
def test_the_audit_finds_what_a_search_finds(cases: list[tuple[int, int, int, int]]) -> None:
    table = np.array(cases)
    groups = [np.ones(len(table), dtype=bool)]
    groups += [table[:, column] == value for column in (1, 2) for value in range(2)]
    assert gives_away(groups, table[:, 0]) == by_search(groups, table[:, 0])


@settings(max_examples=30, deadline=None)
@given(
    cases=st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), min_size=3, max_size=30
    )
)
def test_what_is_told_gives_no_few_patients_away(cases: list[tuple[int, int, int, int]]) -> None:
    table = np.array(cases)
    everybody = np.ones(len(table), dtype=bool)
    groups = {(c, v): table[:, c] == v for c in (1, 2, 3) for v in range(4) if (table[:, c] == v).any()}
    told = told_groups(groups, [everybody], table[:, 0])
    if told:
        assert not by_search([everybody, *(groups[key] for key in told)], table[:, 0])


def test_all_groups_of_enough_patients_are_told() -> None:
    groups = {name: cells(30, *range(start, start + 10)) for start, name in ((0, "a"), (10, "b"), (20, "c"))}
    assert told_groups(groups, [np.ones(30, dtype=bool)], np.arange(30)) == {"a", "b", "c"}


def test_the_smallest_of_the_others_goes_with_a_small_group() -> None:
    groups = {"male": cells(20, *range(12)), "female": cells(20, *range(12, 18)), "other": cells(20, 18, 19)}
    assert told_groups(groups, [np.ones(20, dtype=bool)], np.arange(20)) == {"male"}
