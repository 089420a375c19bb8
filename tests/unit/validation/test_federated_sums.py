import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radfed.metrics.mask_sums import pool_masks, pool_volumes
from radfed.metrics.policy import Outcome
from radfed.metrics.sums import MeanSums, pooled_mean
from radfed.validation.mask_tables import mask_sums
from radfed.validation.results import CaseResult, Evaluation, LabelResult
from radfed.validation.summary import Summary, summarise
from radfed.validation.volumes import agreement

LABELS = ("left", "right")


def result(label: str, outcome: Outcome, random: np.random.Generator) -> LabelResult:
    compared = outcome is Outcome.COMPARED
    dice = float(random.uniform(0.4, 1)) if compared else float(outcome is Outcome.BOTH_EMPTY)
    return LabelResult(
        label=label, outcome=outcome, dice=dice, nsd=dice, hd95=float(random.uniform(0, 20)) if compared else None,
        reference_ml=float(random.uniform(1, 50)), prediction_ml=float(random.uniform(1, 50)),
    )  # fmt: skip


def site_of(site: str, patients: list[int], outcomes: Sequence[tuple[Outcome, ...]], seed: int) -> Evaluation:
    random = np.random.default_rng(seed)
    cases = tuple(
        CaseResult(
            site=site, patient=f"p{patient}", case=f"c{index}", digest="",
            labels=tuple(result(*pair, random) for pair in zip(LABELS, kinds, strict=True)),
        )
        for index, (patient, kinds) in enumerate(zip(patients, outcomes, strict=True))
    )  # fmt: skip
    return Evaluation(task="t", task_digest="0" * 64, split="test", cases=cases)


def both(*sites: Evaluation) -> tuple[Summary, Evaluation]:
    together = sites[0].model_copy(update={"cases": tuple(case for site in sites for case in site.cases)})
    return summarise(together), together


def test_pooled_sums_are_those_of_all_cases() -> None:
    kinds = [(Outcome.COMPARED, Outcome.COMPARED)] * 6 + [(Outcome.MISSED, Outcome.COMPARED)] * 3
    kinds += [(Outcome.BOTH_EMPTY, Outcome.FALSE_POSITIVE)] * 4
    sites = [site_of("a", list(range(13)), kinds, 1), site_of("b", [*range(12), 0], kinds, 2)]
    summary, together = both(*sites)
    told = [mask_sums(site) for site in sites]
    found = pool_masks(told, summary.pooled.cases, summary.pooled.patients)
    checked = 0
    for name, ours, theirs in [
        ("mean", found.mean, summary.pooled.mean), *((n, found.labels[n], summary.pooled.labels[n]) for n in LABELS)
    ]:  # fmt: skip
        for metric in ("dice", "hd95", "nsd"):
            mine, other = getattr(ours, metric), getattr(theirs, metric)
            if mine is not None:
                assert mine.mean == pytest.approx(other.mean, abs=1e-12), (name, metric)
                assert (mine.cases, mine.patients) == (other.cases, other.patients)
                checked += 1
        if ours.counts is not None:
            assert ours.counts.model_dump() == theirs.counts.model_dump()
    assert checked >= 7
    for label, volume in pool_volumes(told).items():
        other = agreement(together, label)
        assert other is not None
        assert (volume.bias_ml, volume.deviation_ml) == pytest.approx((other.bias_ml, other.deviation_ml))


def test_the_interval_is_that_of_the_bootstrap_where_cases_are_many() -> None:
    everything = [(Outcome.COMPARED, Outcome.COMPARED)] * 120
    site = site_of("a", [index // 2 for index in range(120)], everything, 3)
    found, summary = pool_masks([mask_sums(site)], 120, 60).mean.dice, summarise(site).pooled.mean.dice
    assert found is not None
    assert summary is not None
    assert (found.low, found.high) == pytest.approx((summary.low, summary.high), abs=0.004)


def test_a_site_that_holds_back_is_not_left_out_of_the_sum() -> None:
    few = [(Outcome.COMPARED, Outcome.COMPARED)] * 7 + [(Outcome.MISSED, Outcome.COMPARED)]
    careful, open_ = site_of("a", list(range(8)), few, 1), site_of("b", list(range(8)), [few[0]] * 8, 2)
    told = [mask_sums(careful), mask_sums(open_)]
    assert told[0].labels["left"].counts is None, "one missed structure is one patient's result"
    assert told[0].labels["left"].hd95 is None, "its cases are one fewer than all"
    assert told[0].labels["left"].dice is not None
    found = pool_masks(told, 16, 16)
    assert found.labels["left"].hd95 is None
    assert found.labels["left"].counts is None
    assert found.labels["right"].hd95 is not None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from(list(Outcome)), st.sampled_from(list(Outcome))),
        min_size=3, max_size=14,
    )
)  # fmt: skip
def test_no_number_is_of_one_or_two_patients(drawn: list[tuple[int, Outcome, Outcome]]) -> None:
    patients = [patient for patient, _, _ in drawn]
    site = site_of("a", patients, [(one, two) for _, one, two in drawn], 5)
    told = mask_sums(site)

    def enough(chosen: NDArray[np.bool_]) -> bool:
        return len({p for p, there in zip(patients, chosen, strict=True) if there}) not in (1, 2)

    for index, label in enumerate(LABELS, start=1):
        kinds = [row[index] for row in drawn]
        cells = {kind: np.array([one is kind for one in kinds]) for kind in Outcome}
        sums = told.labels[label]
        if sums.counts is not None:
            assert all(enough(cell) for cell in cells.values())
        if sums.dice is not None:
            assert enough(cells[Outcome.BOTH_EMPTY])
            assert enough(~cells[Outcome.BOTH_EMPTY])
        if sums.hd95 is not None:
            assert enough(cells[Outcome.COMPARED])
            assert enough(~cells[Outcome.COMPARED])


def test_sums_that_no_values_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="add up"):
        MeanSums(cases=3, patients=3, total=3.0, squares=1.0)
    with pytest.raises(ValueError, match="add up"):
        MeanSums(cases=3, patients=4, total=1.0, squares=1.0)
    numbers = np.array([1.0, 2.0, 4.0, 6.0])
    whose = np.array([0, 0, 1, 2])
    sums = MeanSums.of(numbers, whose)
    assert sums is not None
    assert sums.by_patient is None, "of three patients these sums could be solved for the values of each"
    found = pooled_mean([sums])
    assert found is not None
    assert found.low is None
    assert found.deviation == pytest.approx(float(numbers.std(ddof=1)))
    assert MeanSums.of(numbers[:2], np.array([0, 1])) is None
    assert math.isclose(found.mean, numbers.mean())
