"""The campaign on disk and the rules of a round; what crosses processes is in tests/integration."""

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from nvflare.app_common.abstract.fl_model import FLModel

from radfed.errors import FederationError, GateError
from radfed.federation import children
from radfed.federation.aggregation import change_norm
from radfed.federation.answers import Asked, as_code
from radfed.federation.gathering import Answer, Gathering, judge
from radfed.federation.store import LEDGER, CampaignStore
from radfed.job import FederationSettings, Job, as_campaign, find_job
from radfed.ledger import NoteLine, RoundLine, ScoreLine, SiteLine, measure_of, read_ledger, rounds_of
from radfed.metrics.pooling import pool
from radfed.weights import load_weights, weights_digest


@pytest.fixture
def job() -> Job:
    return as_campaign(find_job("phantom_segmentation").with_changes(rounds=3), "trial")


def answer(site: str, *, reason: str | None = None, norm: float = 1.0) -> Answer:
    line = SiteLine(round=1, site=site, answered=True, reason=reason, norm=norm)
    return Answer(line, None if reason else Path(site))


def add_round(store: CampaignStore, number: int, metric: float | None, sites: Sequence[str] = ("a", "b")) -> None:
    model = {"w": np.full(2, number, dtype=np.float32)}
    for site in sites:
        store.ledger.append(SiteLine(round=number, site=site, answered=True, accepted=True, weight=4.0))
    line = RoundLine(round=number, digest=weights_digest(model), accepted=len(sites), seconds=1.0)
    store.save_round(line, model)
    store.ledger.append(ScoreLine(round=number, metric=metric, metric_cases=4))


@pytest.mark.parametrize(
    ("metrics", "best"), [([0.5, 0.9, 0.8], 2), ([0.5, 0.7, 0.7], 3), ([None, None, None], 3), ([None, 0.1, None], 2)]
)
def test_the_model_kept_is_the_one_that_the_ledger_calls_best(
    tmp_path: Path, job: Job, metrics: list[float | None], best: int
) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        store.begin_link("j1", ["a", "b"])
        for number, metric in enumerate(metrics, start=1):
            add_round(store, number, metric)
        final = store.conclude()
    assert (final.outcome, final.best_round) == ("COMPLETED", best)
    assert final.measure == measure_of(read_ledger(tmp_path / LEDGER)) == job.task.measure
    assert weights_digest(load_weights(tmp_path / "best.safetensors")) == final.digest
    assert load_weights(tmp_path / "final.safetensors")["w"][0] == 3


def test_a_link_goes_on_where_the_one_before_ended_and_voids_what_it_left_half_done(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        store.begin_link("j1", ["a", "b"])
        add_round(store, 1, 0.5)
        store.ledger.append(SiteLine(round=2, site="a", answered=True, accepted=True, weight=4.0))
        store.ledger.append(SiteLine(round=2, site="b", answered=True, accepted=True, weight=4.0))
        # Killed here: the aggregate of round 2 never came to be.
    with CampaignStore.hold(tmp_path, job) as store:
        link = store.begin_link("j2", ["a"])
        assert (link.link, link.first_round, link.sites, link.required) == (2, 2, ("a",), ("a", "b"))
        assert store.lost_links == 1
        model = store.load_model()
        assert model is not None
        assert model["w"][0] == 1
        for number in (2, 3):
            add_round(store, number, 0.6, sites=("a",))
            store.ledger.append(SiteLine(round=number, site="b", asked=False, reason="absent"))
        final = store.conclude()
    assert (final.outcome, final.missing) == ("DEGRADED", ("b",))
    assert final.cases_lost == pytest.approx(0.3333, abs=1e-4)


def test_an_aggregate_without_its_line_is_no_round(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        store.begin_link("j1", ["a", "b"])
        add_round(store, 1, None)
        (tmp_path / "checkpoint-2.safetensors").write_bytes((tmp_path / "checkpoint-1.safetensors").read_bytes())
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"event": "round", "round": 2, "digest": "x", "accepted": 2, "seconds"')
    with CampaignStore.hold(tmp_path, job) as store:
        assert [line.round for line in rounds_of(store.ledger.lines)] == [1]
        assert store.begin_link("j2", ["a", "b"]).first_round == 2
    assert b'"digest": "x"' not in (tmp_path / "ledger.jsonl").read_bytes(), "a torn line is taken out, not built upon"


def test_a_checkpoint_that_is_not_the_ledgers_is_not_trained_on(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        store.begin_link("j1", ["a"])
        add_round(store, 1, 0.5)
        add_round(store, 2, 0.6)
        (tmp_path / "checkpoint-2.safetensors").write_bytes((tmp_path / "checkpoint-1.safetensors").read_bytes())
        with pytest.raises(FederationError, match="round 2"):
            store.load_model()


def test_a_campaigns_name_belongs_to_one_training(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job):
        pass
    with pytest.raises(GateError, match="other settings"), CampaignStore.hold(tmp_path, job.with_changes(seed=7)):
        pass


def _hold(folder: Path, job: Job, held: Event) -> None:
    with CampaignStore.hold(folder, job):
        held.set()
        multiprocessing.Event().wait()


def test_two_jobs_never_hold_a_campaign_at_once_and_a_killed_one_lets_go(tmp_path: Path, job: Job) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=_hold, args=(tmp_path, job, held))
    other.start()
    assert held.wait(20)
    with pytest.raises(FederationError, match="another FLARE job"), CampaignStore.hold(tmp_path, job, patience=0.3):
        pass
    other.kill()
    other.join()
    with CampaignStore.hold(tmp_path, job, patience=0.3) as store:
        assert store.final is None


def gathering(clock: list[float], **settings: float) -> Gathering:
    chosen = FederationSettings.model_validate({"min_sites": 2, "patience": 3, "grace": 10, **settings})
    return Gathering(1, ["a", "b", "c"], chosen, chosen.min_sites, now=lambda: clock[0])


def test_after_the_quorum_the_others_have_a_multiple_of_its_time() -> None:
    clock = [0.0]
    here = gathering(clock)
    clock[0] = 100.0
    assert here.put(answer("a"))
    assert here.put(answer("b"))
    clock[0] = 299.0
    assert not here.is_over()
    clock[0] = 301.0
    assert here.is_over()
    assert set(here.close()) == {"a", "b"}
    assert not here.put(answer("c")), "what comes after the end is late"


def test_the_others_always_have_the_grace() -> None:
    clock = [0.0]
    here = gathering(clock)
    clock[0] = 1.0
    here.put(answer("a"))
    here.put(answer("b"))
    clock[0] = 10.9
    assert not here.is_over()
    clock[0] = 11.1
    assert here.is_over()


def test_errors_are_no_quorum_and_a_round_that_cannot_reach_it_ends_at_once() -> None:
    clock = [0.0]
    here = gathering(clock)
    here.put(answer("a", reason="trainer_died"))
    clock[0] = 1000.0
    assert not here.is_over(), "b and c may still make the quorum"
    here.put(answer("b", reason="not_finite"))
    assert here.is_over()
    assert here.usable == 0


def test_a_dead_site_is_not_waited_for() -> None:
    clock = [0.0]
    here = gathering(clock, min_sites=1)
    here.put(answer("a"))
    here.put(answer("b"))
    assert not here.is_over()
    assert here.is_over(lost=["c"])


def test_the_deadline_ends_a_round_without_quorum() -> None:
    clock = [0.0]
    here = gathering(clock, round_deadline=60)
    clock[0] = 61.0
    assert here.is_over()


def test_the_first_answer_of_a_site_stands() -> None:
    here = gathering([0.0])
    assert here.put(answer("a"))
    assert not here.put(answer("a", reason="not_finite"))


@pytest.mark.parametrize(
    ("norms", "refused"),
    [
        ({"a": 1.0, "b": 1.2, "c": 1000.0}, {"c"}),
        ({"a": 1.0, "b": 9.0, "c": 4.0}, set()),
        ({"a": 1.0, "b": 1000.0}, {"b"}),
        ({"a": 1000.0}, set()),
        ({"a": 0.0, "b": 0.0, "c": 1.0}, set()),
    ],
)
def test_an_update_far_larger_than_the_others_is_refused(norms: dict[str, float], refused: set[str]) -> None:
    judged = judge([answer(site, norm=norm) for site, norm in norms.items()], norm_limit=10)
    assert {a.line.site for a in judged if a.line.reason == "norm_outlier"} == refused
    assert all(a.line.accepted == (a.update is not None) for a in judged)
    assert {a.line.site for a in judged if not a.line.accepted} == refused


def test_the_norm_is_of_the_change_and_leaves_counters_out() -> None:
    before: dict[str, NDArray[Any]] = {"w": np.ones(2, np.float32), "n": np.array(3, np.int64)}
    after: dict[str, NDArray[Any]] = {"w": np.array([4, 5], np.float32), "n": np.array(3000, np.int64)}
    assert change_norm(after, before) == pytest.approx(5.0)


def test_scores_are_waited_for_from_every_site_that_lives() -> None:
    """A quorum is for updates; one site's error must not end the others' measuring."""
    clock = [0.0]
    here = Gathering(1, ["a", "b", "c"], FederationSettings(round_deadline=500), None, now=lambda: clock[0])
    here.put(answer("a", reason="trainer_died"))
    here.put(answer("b"))
    clock[0] = 400.0
    assert not here.is_over()
    assert here.is_over(lost=["c"])
    clock[0] = 501.0
    assert here.is_over()


def test_nothing_is_written_after_the_end(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        store.begin_link("j1", ["a", "b"])
        for number in (1, 2, 3):
            add_round(store, number, 0.5)
        store.conclude()
        store.ledger.append(NoteLine(reason="late", site="a", round=3))
        assert store.final is not None
    with CampaignStore.hold(tmp_path, job) as store:
        assert store.final is not None


def test_test_scores_of_a_model_that_is_no_longer_best_are_forgotten(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        store.begin_link("j1", ["a", "b"])
        for number in (1, 2, 3):
            add_round(store, number, number / 10)
        (tmp_path / "evaluation.json").write_text(pool("0" * 64, {}).model_dump_json())
        store.conclude()
    assert not (tmp_path / "evaluation.json").exists()


def test_a_release_that_was_cut_short_is_built_again(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(store: CampaignStore, _stop: object, *words: str) -> tuple[int, str, str]:
        asked.append(words)
        whole = store.folder / "release" / "task-1.0.0"
        whole.mkdir()
        (whole / "SHA256SUMS").write_text("")
        return 0, '{"release": "/a/path/of/the/server"}', ""

    monkeypatch.setattr(children, "_run", run)
    with CampaignStore.hold(tmp_path, job) as store:
        cut_short = tmp_path / "release" / ".task-1.0.0.abcd"
        cut_short.mkdir(parents=True)
        (cut_short / "model.onnx").write_bytes(b"half")
        children.build_release(store, lambda: False)
        assert not cut_short.exists()
        (tmp_path / "release.json").unlink()
        children.build_release(store, lambda: False)
    assert len(asked) == 1
    assert (tmp_path / "release.json").read_text() == '{"ok": true}\n'


def test_work_of_a_child_ends_when_the_job_does_and_the_child_holds_the_campaign(tmp_path: Path, job: Job) -> None:
    with CampaignStore.hold(tmp_path, job) as store:
        began = time.monotonic()
        with pytest.raises(FederationError, match="ended before it was done"):
            children._run(store, lambda: time.monotonic() - began > 0.5, "-c", "import time; time.sleep(60)")
        code, said, _ = children._run(
            store, lambda: False, "-c", f"import os; os.fstat({store.lock}); print('holds it')"
        )
    assert (code, said) == (0, "holds it\n")


def trained(params: dict[str, NDArray[Any]], **report: object) -> FLModel:
    result = FLModel(params=params, metrics={"cases": 4, **report})
    result.meta["client_name"] = "a"
    return result


def asked(task: str, tmp_path: Path) -> Asked:
    here = Gathering(2, ["a", "b"], FederationSettings(), None)
    model = {"w": np.zeros(3, np.float32), "n.running_var": np.ones(3, np.float32)}
    return Asked(task, here, model, tmp_path, {}, frozenset({"liver"}), ThreadPoolExecutor(2))


def take(here: Asked, result: FLModel) -> None:
    """Have an answer judged, and wait until it is."""
    here.take(result)
    here.pool.shutdown()


@pytest.mark.parametrize(
    ("change", "report", "reason"),
    [
        ({}, {}, None),
        ({"w": np.full(3, np.nan, np.float32)}, {}, "not_finite"),
        ({"w": np.zeros(4, np.float32)}, {}, "other_shapes"),
        ({"w": np.full(3, 3e38, np.float32)}, {}, "norm_outlier"),
        ({"n.running_var": np.full(3, -1, np.float32)}, {}, "negative_variance"),
        ({}, {"cases": 10**18}, "malformed_report"),
        ({}, {"cases": -1}, "malformed_report"),
        ({}, {"cases": 0}, "no_cases"),
        ({}, {"loss": 1.7e308}, "malformed_report"),
        ({}, {"metric": 1.0, "metric_cases": 10**18}, "malformed_report"),
        ({}, {"patient": "Doe^Jane"}, "malformed_report"),
    ],
)
def test_what_a_site_sends_is_judged(
    tmp_path: Path, change: dict[str, NDArray[Any]], report: dict[str, object], reason: str | None
) -> None:
    here = asked("train", tmp_path)
    take(here, trained({**here.model, **change}, **report))
    line = here.gathering.answers["a"].line
    assert (line.answered, line.accepted, line.reason) == (True, False, reason)
    assert (here.gathering.answers["a"].update is not None) == (reason is None)
    assert "Doe" not in line.model_dump_json()


@pytest.mark.parametrize(
    "report",
    [
        {"cases": 3, "labels": {"liver": {"total": 1e200, "squares": 0.0}}},
        {"cases": 3, "labels": {"liver": {"total": 4.0, "squares": 1.0}}},
        {"cases": 3, "labels": {"Doe^Jane": {"total": 1.0, "squares": 0.5}}},
    ],
)
def test_test_scores_that_no_cases_can_have_are_refused(tmp_path: Path, report: dict[str, object]) -> None:
    here = asked("test", tmp_path)
    result = FLModel(metrics=report)
    result.meta["client_name"] = "a"
    take(here, result)
    assert here.gathering.answers["a"].line.reason == "malformed_report"
    assert not here.tests


def test_a_reason_that_is_no_code_does_not_reach_the_ledger() -> None:
    assert as_code("trainer_died") == "trainer_died"
    assert as_code("/data/patients/Doe^Jane.nii") == "malformed_reason"
    assert as_code("x" * 1000) == "malformed_reason"
