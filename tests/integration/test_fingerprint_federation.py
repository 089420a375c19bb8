"""Three sites in FLARE's simulator: what they tell together is what all their data in one place would say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.unit.fingerprint.statistics_data import RARE, SITES, mixed_task, write_records

from radfed.dataset.fingerprint_content import Fingerprint
from radfed.dataset.layout import Case, Dataset
from radfed.federation.statistics_job import fingerprint_job
from radfed.federation.statistics_simulate import simulate_fingerprint
from radfed.site.statistics_settings import StatisticsSettings

CASES = 120


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sites")
    return {site: write_records(root, site, CASES, images=True) for site in SITES}


@pytest.fixture(scope="module")
def found(datasets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Fingerprint:
    run = tmp_path_factory.mktemp("run with space")
    told = simulate_fingerprint(fingerprint_job(mixed_task()), datasets, run, StatisticsSettings(min_count=3))
    assert Fingerprint.read_json(run) == told
    return told


def pooled(datasets: dict[str, Path]) -> Iterator[tuple[Dataset, Case]]:
    for path in datasets.values():
        dataset = Dataset.read(path)
        yield from ((dataset, case) for case in dataset.split("training"))


def test_it_equals_the_pooled_statistics(found: Fingerprint, datasets: dict[str, Path]) -> None:
    voxels = [dataset.image(case).array for dataset, case in pooled(datasets)]
    cases = [case for _, case in pooled(datasets)]
    truth = {
        "intensity.ct": np.concatenate([image[0].reshape(-1) for image in voxels]),
        "intensity.mr": np.concatenate([image[1].reshape(-1) for image in voxels]),
        "covariate.age": np.array([case.covariates["age"] for case in cases], np.float64),
        "covariate.crp": np.array([case.covariates["crp"] for case in cases], np.float64),
        "spacing.S": np.array([case.spacing[2] for case in cases if case.spacing], np.float64),
        "size.R": np.array([case.size[0] for case in cases if case.size], np.float64),
    }
    for name, values in truth.items():
        measure = found.pooled.values[name]
        assert measure.count == len(values), name
        assert measure.mean == pytest.approx(float(values.mean(dtype=np.float64)), rel=0.01), name
        assert measure.deviation == pytest.approx(float(values.std(ddof=1, dtype=np.float64)), rel=0.01), name
        assert measure.histogram is not None
        for percent in (10, 50, 90) if len(values) < 1000 else (0.5, 5, 50, 95, 99.5):
            # NumPy's lower and higher neighbour: between two values in far bins, any place is a percentile.
            low, high = (float(np.percentile(values, percent, method=way)) for way in ("lower", "higher"))
            width = measure.histogram.bins.width_at(high)
            assert low - width <= measure.percentile(percent) <= high + width, (name, percent)


def test_counts_are_those_of_all_cases(found: Fingerprint, datasets: dict[str, Path]) -> None:
    cases = [case for _, case in pooled(datasets)]
    outcomes = [case.outcome for case in cases]
    assert found.pooled.groups["class"] == {name: outcomes.count(name) for name in ("well", "ill", "rare")}
    assert found.pooled.groups["class"]["rare"] == len(SITES) * RARE
    assert found.pooled.groups["split"]["training"] == len(cases)
    assert set(found.pooled.groups["scanner"]) == {"Acme One", "Acme Two", "Brand Three"}
    sexes = [case.covariates["sex"] for case in cases]
    assert found.pooled.groups["category.sex"] == {sex: sexes.count(sex) for sex in ("f", "m")}


def test_nobody_was_left_out(found: Fingerprint) -> None:
    assert set(found.sites) == set(SITES)
    assert found.refused == {}
    assert found.task_digest == mixed_task().digest
