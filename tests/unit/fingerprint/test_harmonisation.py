"""Who is far from whom, from fingerprints alone."""

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

# pytest puts this folder on the path, mypy does not.
from statistics_data import SITES, organ_task, tell_together, write_organs  # type: ignore[import-not-found]

from radfed.dataset.fingerprint_content import Bins, Fingerprint, Histogram, Measure, SiteFingerprint, pool
from radfed.dataset.fingerprint_rules import Rules
from radfed.dataset.layout import Dataset
from radfed.validation.harmonisation import by_site, chance_level, distances, jensen_shannon
from radfed.validation.harmonisation_page import render, write_harmonisation


def test_the_distance_is_that_of_jensen_and_shannon() -> None:
    same, apart = np.array([1.0, 2, 3]), np.array([0.0, 0, 7])
    assert jensen_shannon(same, 10 * same) == 0
    assert jensen_shannon(np.array([5.0, 0, 0]), apart) == pytest.approx(1)
    # Lin 1991, by hand: p = (1, 0), q = (1/2, 1/2).
    by_hand = np.sqrt(0.5 * np.log2(1 / 0.75) + 0.5 * (0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25)))
    assert jensen_shannon(np.array([8.0, 0]), np.array([3.0, 3])) == pytest.approx(by_hand)
    assert jensen_shannon(same, apart) == jensen_shannon(apart, same)


def test_the_level_of_chance_is_what_samples_of_one_distribution_show() -> None:
    random, bins = np.random.default_rng(0), 12
    drawn = [
        jensen_shannon(
            np.bincount(random.integers(0, bins, 150), minlength=bins).astype(float),
            np.bincount(random.integers(0, bins, 400), minlength=bins).astype(float),
        )
        ** 2
        for _ in range(400)
    ]
    assert np.sqrt(np.mean(drawn)) == pytest.approx(chance_level(bins, 150, 400), rel=0.1)


def site(middle: float, cases: int, sex: tuple[int, int], seed: int) -> SiteFingerprint:
    bins = Bins(lower=0, upper=100, number=64)
    values = np.random.default_rng(seed).normal(middle, 10, cases)
    counts = np.bincount(bins.find(values), minlength=64)
    histogram = Histogram(bins=bins, counts=tuple(int(count) for count in counts))
    measure = Measure(count=cases, sum=float(values.sum()), deviation=10, histogram=histogram)
    return SiteFingerprint(
        values={"covariate.age": measure}, groups={"category.sex": dict(zip("fm", sex, strict=True))}
    )


def whole(**sites: SiteFingerprint) -> Fingerprint:
    return Fingerprint(
        task="ages",
        task_digest="0" * 64,
        sites=sites,
        pooled=pool(sites),
        refused={"late": "no_answer"},
        radfed_version="1",
    )


def test_the_stray_site_comes_first_and_the_others_are_alike() -> None:
    found = distances(
        whole(a=site(50, 200, (99, 101), 0), b=site(50, 300, (150, 150), 1), stray=site(80, 250, (20, 230), 2))
    )
    assert next(iter(by_site(found))) == "stray"
    assert {d.about for d in found if d.site == "stray" and d.verdict == "far"} == {"covariate.age", "category.sex"}
    assert found[0].site == "stray"
    assert "50.4 (" in found[0].elsewhere or "50 (" in found[0].elsewhere or "49." in found[0].elsewhere
    assert sorted(d.excess for d in found) == [d.excess for d in reversed(found)]


def test_small_samples_of_one_distribution_are_not_called_far() -> None:
    found = distances(whole(a=site(50, 25, (12, 13), 0), b=site(50, 25, (14, 11), 1), c=site(50, 25, (11, 14), 2)))
    assert {d.verdict for d in found} <= {"alike", "differs"}
    assert max(d.distance for d in found) > max(d.excess for d in found)


def test_a_site_alone_is_compared_with_nobody() -> None:
    alone = whole(a=site(50, 100, (50, 50), 0))
    assert distances(alone) == ()
    assert "<h1>ages</h1>" in render(alone, datetime(2026, 1, 1, tzinfo=UTC))


def test_the_report_of_images_shows_everything_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    datasets = {name: Dataset.read(write_organs(tmp_path, name)) for name in SITES}
    told = tell_together(datasets, organ_task(), Rules(5))
    found = Fingerprint(
        task="organs",
        task_digest="0" * 64,
        sites=told,
        pooled=pool(told),
        refused={"late": "no_answer"},
        radfed_version="1",
    )
    page = write_harmonisation(found, tmp_path / "report").read_text()
    assert page.count("<img") >= 10
    for said in ("Acme Two: 12", "intensity: mr", "late told nothing", "<code>no_answer</code>", "spacing: S"):
        assert said in page
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    far = [d for d in distances(found) if d.about == "intensity.mr"]
    assert [d.verdict for d in far] == ["far"] * 3
    assert all(d.chance is None for d in far)
