import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from radfed.metrics.small_cells import LEAST_PATIENTS, enough, in_runs, tellable

CASES = st.lists(
    st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 25)), min_size=1, max_size=60
)  # score in twelfths, truth, patient


def test_a_table_is_told_if_every_cell_is_empty_or_of_enough_patients() -> None:
    patients = np.array([0, 0, 0, 1, 2, 3])
    first = np.array([True, True, True, False, False, False])
    assert enough(0)
    assert not enough(LEAST_PATIENTS - 1)
    assert not tellable((first, ~first), patients)  # three cases of one patient
    assert tellable((first & ~first, first | ~first), patients)


@given(CASES)
def test_runs_hold_enough_patients_of_either_answer_and_keep_the_order(cases: list[tuple[int, bool, int]]) -> None:
    scores = np.array([score / 12 for score, _, _ in cases])
    truth = np.array([there for _, there, _ in cases])
    patients = np.array([who for _, _, who in cases])
    told = in_runs(scores, truth, patients)
    assert (told is None) == (not tellable((truth, ~truth), patients))
    if told is None:
        return
    for value in np.unique(told):
        for answer in (truth, ~truth):
            assert enough(len(np.unique(patients[(told == value) & answer])))
    order = np.argsort(scores, kind="stable")
    assert (np.diff(told[order]) >= -1e-12).all()
    np.testing.assert_allclose(told.sum(), scores.sum())


@given(CASES, st.integers(0, 13))
def test_no_run_crosses_the_operating_point(cases: list[tuple[int, bool, int]], threshold: int) -> None:
    scores = np.array([score / 12 for score, _, _ in cases])
    truth = np.array([there for _, there, _ in cases])
    patients = np.arange(len(cases))
    called = scores >= threshold / 12
    told = in_runs(scores, truth, patients, (called, ~called))
    cells = (truth & called, truth & ~called, ~truth & called, ~truth & ~called)
    assert (told is None) == (not tellable(cells, patients))
    if told is not None and called.any() and not called.all():
        assert told[called].min() > told[~called].max()
