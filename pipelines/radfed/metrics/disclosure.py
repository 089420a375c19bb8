"""Whether sums over groups give away a few patients once they are added and subtracted: complementary suppression.

A mean over a group, told with its number of cases, tells the group's sum. Whoever has several such sums has every
linear combination of them: all cases less those of the told groups, or the cases of one vendor less those of a site
that has no other. Some combination is of few patients alone if the space spanned by the groups' indicators holds a
vector that is zero everywhere else (the audit of linear queries: Chin and Ozsoyoglu 1982, IEEE Trans. Softw. Eng.
8:574).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from radfed.metrics.small_cells import LEAST_PATIENTS, Patients, enough

Group = NDArray[np.bool_]
"""The cases in a group ``(N,)``."""

_SLACK = 1e-9
_Key = TypeVar("_Key", bound=Hashable)


def told_groups(groups: Mapping[_Key, Group], fixed: Sequence[Group], patients: Patients) -> set[_Key]:
    """Which groups' sums may be told beside others, so that no combination is of fewer patients than may be told.

    Groups of too few patients are not told. As long as a combination gives some away, the smallest that is told goes;
    of equal ones the later.

    Args:
        groups: by key, in the order of their importance.
        fixed: groups that are told anyway, such as all cases, and each shown site's.
        patients: whose each case is ``(N,)``.
    """
    size = {key: len(np.unique(patients[group])) for key, group in groups.items()}
    told = [key for key in groups if size[key] and enough(size[key])]
    while told and gives_away([*fixed, *(groups[key] for key in told)], patients):
        told.remove(min(reversed(told), key=size.__getitem__))
    return set(told)


def gives_away(groups: Sequence[Group], patients: Patients) -> bool:
    """Whether a combination of the groups' sums is of fewer than ``LEAST_PATIENTS`` patients.

    Args:
        groups: whose sums are told.
        patients: whose each case is ``(N,)``.
    """
    if not groups or not len(patients):
        return False
    # Cases that are in the same groups always come together; one row stands for all of them.
    rows, place = np.unique(np.stack(groups, axis=1), axis=0, return_inverse=True)
    atoms = [frozenset(patients[place.ravel() == row].tolist()) for row in range(len(rows))]
    left, spread, _ = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    basis = left[:, spread > _SLACK * spread.max()] if spread.size and spread.max() > 0 else left[:, :0]
    weight = np.sum(basis**2, axis=1)
    few = [row for row, atom in enumerate(atoms) if len(atom) < LEAST_PATIENTS and rows[row].any()]
    # Kinds of cases of the same patients count together. A set of k patients has at most 2^k - 1 sets of some of them,
    # and the weights of all kinds of cases of these must come to 1.
    total: dict[frozenset[int], float] = {}
    for row in few:
        total[atoms[row]] = total.get(atoms[row], 0.0) + float(weight[row])
    heavy = [atom for atom, share in total.items() if share > 1 / (2 ** (LEAST_PATIENTS - 1) - 1) - _SLACK]
    for some in _sets_of_few(heavy, total):
        inside = [row for row in few if atoms[row] <= some]
        # The largest singular value is 1 exactly if a vector of the space is zero on all other rows.
        if weight[inside].sum() > 1 - _SLACK and np.linalg.norm(basis[inside], 2) > 1 - _SLACK:
            return True
    return False


def _sets_of_few(first: Iterable[frozenset[int]], others: Iterable[frozenset[int]]) -> set[frozenset[int]]:
    """All sets of too few patients that are made of one of the first and any of the others."""
    found, rest = set(first), set(others)
    for _ in range(LEAST_PATIENTS - 2):
        found |= {one | other for one in found for other in rest if len(one | other) < LEAST_PATIENTS}
    return found
