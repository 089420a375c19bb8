import numpy as np
import pytest

from radfed.metrics.net_benefit import net_benefit, net_benefit_statistic, treat_all

TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
SCORES = np.array([0.9, 0.4, 0.2, 0.8, 0.3, 0.1, 0.1, 0.05])


def test_net_benefit_is_counted_by_hand() -> None:
    # From 0.25 on: two of three found, two needless; a needless one costs a third of a found one.
    assert net_benefit(TRUTH, SCORES, [0.25])[0] == pytest.approx(2 / 8 - 2 / 8 / 3)
    assert net_benefit(TRUTH, SCORES, [0.5])[0] == pytest.approx(1 / 8 - 1 / 8)
    assert net_benefit(TRUTH, SCORES, [0.95])[0] == 0.0


def test_acting_on_all_is_a_model_that_is_always_sure() -> None:
    limits = np.arange(1, 100) / 100
    assert treat_all(TRUTH, limits) == pytest.approx(net_benefit(TRUTH, np.ones(8), limits))
    assert treat_all(TRUTH, [3 / 8])[0] == pytest.approx(0)  # at the share of positive cases both are worth the same


def test_no_model_beats_one_that_knows() -> None:
    limits = np.arange(1, 100) / 100
    assert net_benefit(TRUTH, TRUTH.astype(float), limits) == pytest.approx(np.full(99, 3 / 8))
    assert np.all(net_benefit(TRUTH, SCORES, limits) <= 3 / 8)


def test_a_weight_counts_as_so_many_equal_cases() -> None:
    weights = np.random.default_rng(0).integers(0, 4, (20, 8))
    found = net_benefit_statistic(TRUTH, SCORES, 0.3)(weights.astype(float))
    repeated = [net_benefit(np.repeat(TRUTH, row), np.repeat(SCORES, row), [0.3])[0] for row in weights]
    assert found == pytest.approx(repeated)


def test_what_has_no_exchange_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        net_benefit(TRUTH, SCORES, [0.0, 0.5])
    with pytest.raises(ValueError, match="equally long"):
        net_benefit(TRUTH, SCORES[:3], [0.5])
