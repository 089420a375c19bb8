import numpy as np
from tests.unit.training.records_rule import rule_task

from radfed.preprocessing.gaps import with_gaps
from radfed.preprocessing.records import encode


def test_a_missing_number_becomes_nan_and_one_at_the_mean_does_not() -> None:
    task = rule_task()
    records = np.stack([encode({"first": 1.0, "other": 3.0, "group": "b"}, task), encode({"second": 5.0}, task)])
    found = with_gaps(records, task)
    # The mean is 1, the deviation 2; each number has its indicator, the category a column for each value and one more.
    expected = [[0, 0, np.nan, 1, 1, 0, 0, 1, 0], [np.nan, 1, 2, 0, np.nan, 1, 0, 0, 1]]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))
    assert found.dtype == np.float32
    assert np.isfinite(records).all()  # what was given is as it was
