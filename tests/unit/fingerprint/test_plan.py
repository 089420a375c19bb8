"""Plans from fingerprints: nnU-Net's rules on merged histograms, and a contract that is still a contract."""

import json
from pathlib import Path

import numpy as np
import pytest

# pytest puts this folder on the path, mypy does not.
from statistics_data import mixed_task, organ_task, record_task  # type: ignore[import-not-found]

from radfed.dataset import fingerprint_features as names
from radfed.dataset.fingerprint_content import Fingerprint, Histogram, Measure, SiteFingerprint
from radfed.errors import InvalidInputError
from radfed.task import OutcomeTask, SegmentationTask, Window, read_task
from radfed.workflow.plan import make_plan
from radfed.workflow.plan_memory import GIB, step_memory
from radfed.workflow.plan_write import plan_task

AnyTask = SegmentationTask | OutcomeTask


def measured(task: AnyTask, **values: list[float]) -> SiteFingerprint:
    """A fingerprint of these values; dots in names are written as double underscores."""
    known = {feature.name: feature for feature in (*names.voxel_features(task), *names.case_features(task))}
    found = {}
    for key, listed in values.items():
        name, array = key.replace("__", "."), np.array(listed)
        bins = known[name].with_range(0.0, 4096.0)
        counts = np.bincount(bins.find(array), minlength=bins.number)
        found[name] = Measure(
            count=len(array),
            sum=float(array.sum()),
            deviation=float(array.std(ddof=1)),
            histogram=Histogram(bins=bins, counts=tuple(int(count) for count in counts)),
        )
    return SiteFingerprint(values=found)


def whole(task: AnyTask, pooled: SiteFingerprint, refused: dict[str, str] | None = None) -> Fingerprint:
    return Fingerprint(
        task=task.name,
        task_digest=task.digest,
        sites={"north": pooled, "south": pooled},
        pooled=pooled,
        refused=refused or {},
        radfed_version="1",
    )


def ct_task(**changes: object) -> SegmentationTask:
    content = organ_task().model_dump(mode="json") | {"channels": [{"name": "ct", "modality": "CT"}]} | changes
    return SegmentationTask.check(content, "test")


def spacings(task: AnyTask, through: list[float], slices: float = 40.0) -> SiteFingerprint:
    cases = len(through)
    plane, sides = [0.7] * cases, [512.0] * cases
    return measured(
        task,
        spacing__R=plane,
        spacing__A=plane,
        spacing__S=through,
        size__R=sides,
        size__A=sides,
        size__S=[slices] * cases,
        voxels=[512 * 512 * slices] * cases,
    )


def test_the_target_spacing_is_the_median_of_each_axis() -> None:
    planned, plan = make_plan(whole(ct_task(), spacings(ct_task(), [1.0, 1.0, 1.5, 1.5, 1.5])), ct_task())
    assert isinstance(planned, SegmentationTask)
    assert planned.spacing == (0.7, 0.7, 1.5)
    assert [decision.key for decision in plan.decisions] == ["spacing"]


def test_along_slices_far_apart_it_is_the_finest_tenth_but_no_finer_than_the_plane() -> None:
    thick = [5.0] * 17 + [2.0] * 3
    planned, plan = make_plan(whole(ct_task(), spacings(ct_task(), thick)), ct_task())
    assert isinstance(planned, SegmentationTask)
    assert planned.spacing == (0.7, 0.7, 2.0)
    assert "10th percentile" in plan.decisions[0].reason
    thin = [5.0] * 17 + [0.3] * 3
    planned, _ = make_plan(whole(ct_task(), spacings(ct_task(), thin)), ct_task())
    assert isinstance(planned, SegmentationTask)
    assert planned.spacing == (0.7, 0.7, 0.7)
    # With as many slices as columns nothing was spared.
    planned, _ = make_plan(whole(ct_task(), spacings(ct_task(), thick, slices=500)), ct_task())
    assert isinstance(planned, SegmentationTask)
    assert planned.spacing == (0.7, 0.7, 5.0)


def test_ct_gets_a_window_from_the_labelled_voxels() -> None:
    random = np.random.default_rng(0)
    organ = random.normal(60, 20, 100_000)
    air = np.full(400_000, -1000.0)
    pooled = measured(ct_task(), intensity__ct=[*air, *organ], foreground__ct=organ.tolist())
    planned, _ = make_plan(whole(ct_task(), pooled), ct_task())
    assert isinstance(planned, SegmentationTask)
    assert isinstance(planned.intensity, Window)
    low, high = np.percentile(organ, [0.5, 99.5])
    assert planned.intensity.lower == pytest.approx(low, abs=5)
    assert planned.intensity.upper == pytest.approx(high, abs=5)


@pytest.mark.parametrize(("bright", "rule"), [(0, "zscore"), (30, "percentile")])
def test_mr_is_clipped_only_if_its_tail_is_long(bright: int, rule: str) -> None:
    task = ct_task(channels=[{"name": "mr", "modality": "MR"}])
    voxels = [*np.random.default_rng(0).normal(200, 30, 50_000), *[3000.0] * bright]
    planned, _ = make_plan(whole(task, measured(task, intensity__mr=voxels)), task)
    assert isinstance(planned, SegmentationTask)
    assert planned.intensity.rule == rule


def test_patch_and_batch_fit_into_the_least_gpu() -> None:
    task = ct_task()
    sizes = []
    for memory in (2.0, 4.0, 16.0):
        pooled = spacings(task, [2.0] * 30, slices=100).model_copy(update={"gpu_memory": memory})
        planned, plan = make_plan(whole(task, pooled), task)
        assert isinstance(planned, SegmentationTask)
        assert plan.batch_size is not None
        needed = step_memory(planned, plan.batch_size)
        assert needed <= memory * GIB
        assert all(side % planned.network.total_stride == 0 for side in planned.roi_size)
        sizes.append(plan.batch_size * np.prod(planned.roi_size))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_memory_grows_with_batch_and_window_as_the_network_says() -> None:
    task = ct_task()
    one, two, four = (step_memory(task, batch) for batch in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one))
    assert step_memory(task, 1, (32, 32, 16)) - step_memory(task, 1, (16, 16, 16)) == pytest.approx(3 * (two - one))
    larger = ct_task(network={"name": "SegResNet"}, roi_size=[16, 16, 16])
    assert step_memory(larger, 2) > step_memory(task, 2)


def test_no_stated_gpu_leaves_the_patch_as_it_is() -> None:
    planned, plan = make_plan(whole(ct_task(), spacings(ct_task(), [2.0] * 5)), ct_task())
    assert isinstance(planned, SegmentationTask)
    assert planned.roi_size == ct_task().roi_size
    assert plan.batch_size is None
    assert any("gpu_memory" in note for note in plan.notes)


def test_covariates_are_scaled_and_classes_weighted() -> None:
    task = record_task()
    pooled = measured(task, covariate__age=[40.0, 50.0, 60.0], covariate__crp=[2.0, 2.0])
    pooled = pooled.model_copy(update={"groups": {"class": {"well": 60, "ill": 30, "rare": 10}}})
    planned, plan = make_plan(whole(task, pooled), task)
    assert isinstance(planned, OutcomeTask)
    age = planned.covariates[0].model_dump()
    assert (age["mean"], age["deviation"]) == (50.0, 10.0)
    assert planned.class_weights == pytest.approx((100 / 180, 100 / 90, 100 / 30), rel=1e-3)
    assert any("crp" in note for note in plan.notes)  # all values equal: nothing to divide by
    assert planned.digest != task.digest


def test_a_class_that_nobody_may_tell_leaves_the_weights_alone() -> None:
    task = record_task()
    pooled = SiteFingerprint(groups={"class": {"well": 60, "ill": 30}})
    planned, plan = make_plan(whole(task, pooled, {"west": "nothing_told"}), task)
    assert isinstance(planned, OutcomeTask)
    assert planned.class_weights is None
    assert any("rare" in note for note in plan.notes)
    assert any("west" in note for note in plan.notes)


def test_a_batch_of_cases_is_no_larger_than_the_smallest_site() -> None:
    task = mixed_task()
    pooled = SiteFingerprint(groups={"split": {"training": 20}}, gpu_memory=40.0)
    _, plan = make_plan(whole(task, pooled), task)
    assert plan.batch_size == 16


def test_the_planned_file_is_the_contract_with_its_origin_above(tmp_path: Path) -> None:
    task = ct_task()
    (tmp_path / "task.yaml").write_text(task.to_yaml())
    found = whole(task, spacings(task, [2.0] * 5))
    (tmp_path / "fingerprint.json").write_text(found.model_dump_json())
    plan = plan_task(tmp_path, tmp_path / "task.yaml", tmp_path / "planned" / "task.yaml")
    text = (tmp_path / "planned" / "task.yaml").read_text()
    assert text.startswith("# Planned from the fingerprint of north, south\n")
    assert plan.fingerprint in text
    planned, _ = make_plan(found, task)
    assert read_task(tmp_path / "planned" / "task.yaml").digest == planned.digest
    written = json.loads((tmp_path / "planned" / "plan.json").read_text())
    assert written["decisions"][0]["key"] == "spacing"
    assert written["decisions"][0]["before"] == [1.0, 1.0, 1.0]


def test_a_fingerprint_of_another_task_makes_no_plan() -> None:
    with pytest.raises(InvalidInputError, match="made_up_records, not of made_up_organs"):
        make_plan(whole(record_task(), SiteFingerprint()), organ_task())
