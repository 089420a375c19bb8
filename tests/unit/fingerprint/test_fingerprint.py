"""Fingerprints of datasets: equal to what NumPy says of the raw values, and silent about few patients."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

# pytest puts this folder on the path, mypy does not.
from statistics_data import CAREFUL, RARE, SITES, organ_task, record_task, tell_together, write_organs, write_records  # type: ignore[import-not-found]

from radfed.dataset.fingerprint import Told, fingerprint
from radfed.dataset.fingerprint_content import Bins, Fingerprint, Histogram, Measure, SiteFingerprint, pool
from radfed.dataset.fingerprint_rules import Rules, blur, coarse_range, collapse, is_coarse, told_cells
from radfed.dataset.layout import Dataset
from radfed.errors import DataError, InvalidInputError


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    root = tmp_path_factory.mktemp("records")
    return {site: Dataset.read(write_records(root, site)) for site in SITES}


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return Dataset.read(write_organs(tmp_path_factory.mktemp("organs"), "south"))


def raw(datasets: list[Dataset], name: str) -> NDArray[np.float64]:
    found = [case.covariates.get(name) for dataset in datasets for case in dataset.split("training")]
    return np.array([value for value in found if isinstance(value, float)])


def test_pooled_covariates_are_those_of_all_values_together(records: dict[str, Dataset]) -> None:
    pooled = pool(tell_together(records, record_task(), Rules(5)))
    for name in ("age", "crp"):
        values, measure = raw(list(records.values()), name), pooled.values[f"covariate.{name}"]
        assert measure.count == len(values)
        assert measure.mean == pytest.approx(values.mean(), rel=1e-9)
        assert measure.deviation == pytest.approx(values.std(ddof=1), rel=1e-9)
    measure = pooled.values["covariate.age"]
    assert measure.histogram is not None
    for percent in (10, 25, 50, 75, 90):
        truth = float(np.percentile(raw(list(records.values()), "age"), percent))
        assert abs(measure.percentile(percent) - truth) <= measure.histogram.bins.width_at(truth)


def test_voxels_and_labels_are_those_of_the_training_images(organs: Dataset) -> None:
    told = fingerprint(organs, organ_task(), Rules(3))
    cases = organs.split("training")
    images = [organs.image(case).array for case in cases]
    inside = [organs.label(case).array[0] > 0 for case in cases]
    for channel, name in enumerate(("ct", "mr")):
        voxels = np.concatenate([image[channel].reshape(-1) for image in images]).astype(np.float64)
        labelled = np.concatenate([image[channel][mask] for image, mask in zip(images, inside, strict=True)])
        for values, measure in (
            (voxels, told.values[f"intensity.{name}"]),
            (labelled, told.values[f"foreground.{name}"]),
        ):
            assert measure.count == len(values)
            assert measure.mean == pytest.approx(values.mean(), rel=1e-6)
            assert measure.deviation == pytest.approx(values.std(ddof=1), rel=1e-6)
            assert measure.histogram is not None
            assert sum(measure.histogram.counts) == len(values)
        for percent in (0.5, 50, 99.5):
            truth, measure = float(np.percentile(voxels, percent)), told.values[f"intensity.{name}"]
            assert measure.histogram is not None
            assert abs(measure.percentile(percent) - truth) <= measure.histogram.bins.width_at(truth)
    counted = sum(int((organs.label(case).array == 1).sum()) for case in cases)
    assert told.values["label_voxels.large"].sum == pytest.approx(counted)
    assert told.groups["scanner"] == {"Acme Two": len(cases)}
    assert told.groups["split"] == {"training": 12, "validation": 3, "test": 3}


def test_a_small_class_is_hidden_and_cannot_be_had_by_subtraction(records: dict[str, Dataset]) -> None:
    dataset = records["north"]
    counts = [case.outcome for case in dataset.split("training")]
    told = fingerprint(dataset, record_task(), Rules(CAREFUL)).groups["class"]
    assert counts.count("rare") == RARE < CAREFUL
    # Whoever knows all training cases must not find the rare ones in the difference.
    assert told == {"well": counts.count("well") + RARE, "ill": counts.count("ill")}
    assert "rare" in fingerprint(dataset, record_task(), Rules(5)).groups["class"]


def test_a_few_missing_values_do_not_show_in_any_count(records: dict[str, Dataset]) -> None:
    dataset = records["north"]
    cases = len(dataset.split("training"))
    told = fingerprint(dataset, record_task(), Rules(5))
    values = raw([dataset], "lactate")
    assert len(values) == cases - 3
    assert told.values["covariate.lactate"].count == cases
    assert told.values["covariate.lactate"].mean == pytest.approx(values.mean())
    assert told.groups["missing.lactate"] == {"present": cases}
    shown = fingerprint(dataset, record_task(), Rules(3))
    assert shown.values["covariate.lactate"].count == cases - 3
    assert shown.groups["missing.lactate"] == {"present": cases - 3, "absent": 3}


def test_a_site_with_too_few_patients_tells_nothing(organs: Dataset) -> None:
    # 12 training patients; the splits may be told of all 18.
    assert fingerprint(organs, organ_task(), Rules(13)) == SiteFingerprint()


def test_every_bin_that_is_told_holds_enough_patients(records: dict[str, Dataset]) -> None:
    for dataset in records.values():
        for name, measure in fingerprint(dataset, record_task(), Rules(CAREFUL)).values.items():
            assert measure.histogram is not None, name
            assert all(count == 0 or count >= CAREFUL for count in measure.histogram.counts)


@pytest.mark.parametrize("seed", range(20))
def test_collapsing_keeps_the_sum_and_hides_the_few(seed: int) -> None:
    random = np.random.default_rng(seed)
    patients, bins, least = int(random.integers(1, 30)), 24, 5
    by_patient = random.poisson(0.2, (patients, bins))
    told = collapse(by_patient.sum(axis=0), by_patient > 0, least)
    enough = int((by_patient > 0).any(axis=1).sum()) >= least
    assert told.sum() == (by_patient.sum() if enough else 0)
    # One value a patient is the strictest case: each told bin then holds that many patients.
    place = random.integers(0, bins, patients)
    single = np.zeros((patients, bins), np.int64)
    single[np.arange(patients), place] = 1
    alone = collapse(single.sum(axis=0), single > 0, least)
    assert all(count == 0 or count >= least for count in alone)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_not_told_of_a_question_is_nobody_or_enough(seed: int) -> None:
    random = np.random.default_rng(seed)
    answers = random.choice(["a", "b", "c", "none"], 40, p=random.dirichlet([1, 1, 1, 1]))
    everybody = [f"p{number // 2}" for number in range(40)]  # two cases a patient
    cells = {cell: [who for who, answer in zip(everybody, answers, strict=True) if answer == cell] for cell in "abc"}
    told = told_cells(cells, everybody, 5)
    assert all(patients >= 5 and len(set(cells[name])) >= 5 for name, (_, patients) in told.items())
    rest = len(everybody) - sum(cases for cases, _ in told.values())
    # So many cases are of at least half as many patients.
    assert not told or rest == 0 or rest >= 5
    assert all(cases == len(cells[name]) for name, (cases, _) in sorted(told.items(), key=lambda i: i[1])[:-1])


def test_ranges_are_powers_of_two_that_several_patients_reach() -> None:
    low, high = coarse_range(np.zeros(6), np.array([10.0, 90, 100, 110, 120, 9000]), 3)
    assert (low, high) == (0.0, 128.0)  # 9000 is one patient's
    assert coarse_range(np.array([-3.0, -900, -2]), np.array([-1.0, -1, -1]), 2) == (-4.0, 0.0)
    assert is_coarse(-4.0, 128.0)
    assert not is_coarse(0.0, 117.3)


def test_bins_of_the_askers_choice_are_refused(records: dict[str, Dataset]) -> None:
    told = Told(records["north"], record_task(), Rules(5))
    assert told.agreed("covariate.age", 0, 120).number == 64
    for name, lower, upper in (("covariate.age", 50.0, 51.0), ("covariate.crp", 0.0, 37.5), ("covariate.crp", 0, 1)):
        with pytest.raises(DataError, match="asked for the range"):
            told.agreed(name, lower, upper)


def test_noise_stays_the_same_for_the_same_data_and_differs_for_others() -> None:
    counts = np.array([100, 0, 50], np.int64)
    rules = Rules(5, noise=4.0, seed=b"one")
    assert np.array_equal(blur(counts, counts, rules, "age"), blur(counts, counts, rules, "age"))
    assert not np.array_equal(blur(counts, counts, rules, "age"), blur(counts, counts, Rules(5, 4.0, b"two"), "age"))
    assert blur(counts, counts, rules, "age")[1] == 0
    drawn = [blur(np.array([1000]), np.array([1000]), Rules(5, 4.0, bytes([seed])), "n")[0] for seed in range(200)]
    assert np.mean(drawn) == pytest.approx(1000, abs=2)
    assert np.std(drawn) == pytest.approx(4 * np.sqrt(2), rel=0.4)


def test_with_noise_sums_are_noisy_too(records: dict[str, Dataset]) -> None:
    exact = fingerprint(records["north"], record_task(), Rules(5)).values["covariate.age"]
    noisy = fingerprint(records["north"], record_task(), Rules(5, 2.0, b"s")).values["covariate.age"]
    assert noisy.sum != exact.sum
    assert noisy.mean == pytest.approx(exact.mean, rel=0.1)


def test_histograms_with_other_bins_are_not_added() -> None:
    def site(upper: float) -> SiteFingerprint:
        histogram = Histogram(bins=Bins(lower=0, upper=upper, number=2), counts=(3, 4))
        return SiteFingerprint(values={"x": Measure(count=7, sum=1, deviation=1, histogram=histogram)})

    with pytest.raises(InvalidInputError, match="different bins"):
        pool({"a": site(1), "b": site(2)})


def test_a_fingerprint_survives_its_file(records: dict[str, Dataset], tmp_path: Path) -> None:
    own = fingerprint(records["west"], record_task(), Rules(5))
    found = Fingerprint(
        task="t", task_digest="0" * 64, sites={"west": own}, pooled=pool({"west": own}), radfed_version="1"
    )
    (tmp_path / "fingerprint.json").write_text(found.model_dump_json())
    assert Fingerprint.read_json(tmp_path) == found
