"""A fingerprint through FLARE's own statistics workflow, message by message."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.app_constant import StatisticsConstants as Flare
from nvflare.app_common.statistics.numeric_stats import get_global_stats

# pytest puts this folder on the path, mypy does not.
from statistics_data import CAREFUL, RARE, SITES, record_task, write_records  # type: ignore[import-not-found]

from radfed.dataset.fingerprint import fingerprint
from radfed.dataset.fingerprint_content import Fingerprint, pool
from radfed.dataset.fingerprint_rules import Rules
from radfed.dataset.layout import Dataset
from radfed.errors import GateError
from radfed.federation.egress import describe
from radfed.federation.messages import REASON
from radfed.federation.statistics import FingerprintExecutor
from radfed.federation.statistics_controller import FingerprintController
from radfed.federation.statistics_job import fingerprint_job
from radfed.federation.statistics_message import DIGITS, opened, statistic_configs
from radfed.job import Job
from radfed.site.config import SiteSettings
from radfed.site.statistics_settings import StatisticsSettings


class World:
    """Three sites and a server in one process: FLARE's classes, without its network.

    Args:
        root: for the sites' files.
        datasets: by site.
        job: what runs.
        careful: every site's limits.
    """

    def __init__(self, root: Path, datasets: dict[str, Path], job: Job, careful: StatisticsSettings) -> None:
        self.sent: list[tuple[str, str, Shareable]] = []
        self.root, self.job = root, job
        (root / "config").mkdir(parents=True)
        job.write_json(root / "config" / "radfed.json")
        for site, dataset in datasets.items():
            (root / site).mkdir()
            settings = SiteSettings(name=site, dataset=dataset, statistics=careful, gpu_memory=11.5)
            (root / site / "site.yaml").write_text(settings.to_yaml())
        self.workspace = SimpleNamespace(
            get_app_config_dir=lambda _: str(root / "config"),
            get_root_dir=lambda: str(root),
            get_run_dir=lambda _: str(root / "run"),
        )
        self.sites = {site: self.executor() for site in datasets}
        self.server = FingerprintController()
        self.server.start_controller(self.context("server"))

    @staticmethod
    def executor() -> FingerprintExecutor:
        made = FingerprintExecutor()
        made.initialize(FLContext())
        return made

    def context(self, name: str) -> FLContext:
        clients = [SimpleNamespace(name=site) for site in self.sites]
        engine = SimpleNamespace(get_workspace=lambda: self.workspace, get_clients=lambda: clients)
        context = SimpleNamespace(
            get_engine=lambda: engine,
            get_job_id=lambda: "job",
            get_identity_name=lambda: name,
            get_prop=lambda key, default=None: name if key == FLContextKey.CLIENT_NAME else default,
            get_peer_context=lambda: None,
        )
        return context

    def run(self) -> Fingerprint | None:
        """Both phases, as ``StatisticsController.control_flow`` takes them."""
        for phase in (Flare.STATS_1st_STATISTICS, Flare.STATS_2nd_STATISTICS):
            for site, executor in self.sites.items():
                reply = executor.execute(
                    Flare.FED_STATS_TASK, self.server._prepare_inputs(phase), self.context(site), Signal()
                )
                self.sent.append((site, phase, reply))
                task = SimpleNamespace(name=Flare.FED_STATS_TASK, props={Flare.STATISTICS_TASK_KEY: phase})
                answer = SimpleNamespace(client=SimpleNamespace(name=site), task=task, result=reply)
                self.server.results_cb(answer, self.context("server"))
            self.server.global_statistics = get_global_stats(
                self.server.global_statistics,
                self.server.client_statistics,
                phase,
                self.server.statistic_configs,
                DIGITS,
            )
        self.server.post_fn("fed_stats", self.context("server"))
        found = self.root / "run" / "radfed" / "fingerprint.json"
        return Fingerprint.read_json(found) if found.is_file() else None


@pytest.fixture(autouse=True)
def _sites_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("RADFED_SITES", str(tmp_path_factory.getbasetemp() / "statistics-world"))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("records")
    return {site: write_records(root, site) for site in SITES}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, datasets: dict[str, Path]) -> Iterator[World]:
    root = tmp_path_factory.getbasetemp() / "statistics-world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADFED_SITES", str(root))
        made = World(root, datasets, fingerprint_job(record_task()), StatisticsSettings(min_count=CAREFUL))
        made.found = made.run()  # type: ignore[attr-defined]
        yield made


def numbers(value: object) -> Iterator[float]:
    """Every number in what ``opened`` found."""
    if isinstance(value, np.ndarray):
        yield from value.reshape(-1).tolist()
    elif isinstance(value, bool):
        return
    elif isinstance(value, (int, float)):
        yield value


def all_sent(world: World) -> list[tuple[str, object]]:
    return [pair for _, _, reply in world.sent for pair in opened(from_shareable(reply).data)]


def test_what_arrives_is_what_each_site_may_tell(world: World, datasets: dict[str, Path]) -> None:
    found: Fingerprint = world.found  # type: ignore[attr-defined]
    assert set(found.sites) == set(SITES)
    for site, path in datasets.items():
        own = fingerprint(Dataset.read(path), record_task(), Rules(CAREFUL))
        assert found.sites[site].groups == own.groups
        assert found.sites[site].gpu_memory == 11.5
        for name, measure in own.values.items():
            arrived = found.sites[site].values[name]
            assert arrived.count == measure.count
            assert arrived.mean == pytest.approx(measure.mean, rel=1e-9)
            assert arrived.deviation == pytest.approx(measure.deviation, rel=1e-9)
    assert found.pooled == pool(found.sites)


def test_flare_comes_to_the_same_means_and_deviations(world: World) -> None:
    found: Fingerprint = world.found  # type: ignore[attr-defined]
    for name, measure in found.pooled.values.items():
        of_flare = {key: world.server.global_statistics[key]["training"][name] for key in ("mean", "stddev")}
        assert measure.mean == pytest.approx(of_flare["mean"], rel=1e-6)
        assert measure.deviation == pytest.approx(of_flare["stddev"], rel=1e-6)


def test_no_value_of_a_case_is_in_anything_sent(world: World, datasets: dict[str, Path]) -> None:
    cases = [case for path in datasets.values() for case in Dataset.read(path).cases]
    values = np.array(sorted(v for case in cases for v in case.covariates.values() if isinstance(v, float)))
    sent = [number for _, value in all_sent(world) for number in numbers(value)]
    assert len(sent) > 500
    for number in sent:
        nearest = values[np.abs(values - number).argmin()]
        assert abs(nearest - number) > 1e-9, f"{number} is a case's"
    text = str(all_sent(world))
    assert not [case.id for case in cases if case.id in text or case.patient in text]
    assert str(next(iter(datasets.values())).parent) not in text


def test_no_suppressed_count_is_in_anything_sent(world: World) -> None:
    sent = dict.fromkeys(number for _, value in all_sent(world) for number in numbers(value))
    # What a subtraction would give away: the cases without the rare class.
    assert not {RARE, 240 - RARE, 168, 240 - 3} & set(sent)
    assert not [name for name, _ in all_sent(world) if "rare" in name]
    counts = [
        n for name, value in all_sent(world) if name.startswith("count.") and "gpu" not in name for n in numbers(value)
    ]
    assert counts
    assert min(counts) >= CAREFUL


def test_the_egress_log_takes_every_answer_and_shows_its_numbers(world: World) -> None:
    for _, _, reply in world.sent:
        message = describe(reply, Flare.FED_STATS_TASK, "job", None)
        assert message.metrics["count.training.class=well"]
        json.dumps(message.model_dump(mode="json"))
    assert message.tensors == 3  # the histograms of three covariates
    assert message.digest
    assert message.metrics["histogram.training.covariate.age.upper"] == 120


def test_what_flare_did_not_make_does_not_pass_the_egress_log(world: World) -> None:
    reply = world.sent[0][2]
    dxo = from_shareable(reply)
    dxo.data["note"] = b"anything"
    with pytest.raises(GateError, match="nothing may leave"):
        describe(dxo.to_shareable(), Flare.FED_STATS_TASK, "job", None)


def test_a_site_that_fails_says_a_code_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADFED_SITES", str(tmp_path / "w"))
    job = fingerprint_job(record_task())
    broken = World(tmp_path / "w", {"north": tmp_path / "nowhere"}, job, StatisticsSettings())
    panics: list[str] = []
    monkeypatch.setattr(broken.server, "system_panic", lambda reason, _: panics.append(reason))
    assert broken.run() is None
    reply = broken.sent[0][2]
    assert reply.get_return_code() == ReturnCode.EXECUTION_RESULT_ERROR
    assert reply.get_header(REASON) == "invalid_input"
    assert str(tmp_path) not in str(dict(reply))
    assert "0 site(s) told a fingerprint, 2 needed (north: invalid_input)" in panics[0]


def test_bins_of_the_servers_choice_get_no_answer(
    tmp_path: Path, datasets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADFED_SITES", str(tmp_path / "w"))
    world = World(tmp_path / "w", datasets, fingerprint_job(record_task()), StatisticsSettings())
    world.server.statistic_configs["histogram"]["covariate.age"] = {"bins": 4000, "range": [50.0, 51.0]}
    monkeypatch.setattr(world.server, "system_panic", lambda *_: None)
    assert world.run() is None
    second = [reply for _, phase, reply in world.sent if phase == Flare.STATS_2nd_STATISTICS]
    assert [reply.get_header(REASON) for reply in second] == ["unknown_bins"] * 3


def test_a_malformed_answer_is_refused_and_the_others_count(
    tmp_path: Path, datasets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADFED_SITES", str(tmp_path / "w"))
    world = World(tmp_path / "w", datasets, fingerprint_job(record_task()), StatisticsSettings())
    honest = world.server.results_cb

    def lie(task: SimpleNamespace, context: FLContext) -> None:
        honest(task, context)
        counts = world.server.client_statistics[Flare.STATS_COUNT].get("west", {}).get("training", {})
        counts["class=invented by the site"] = 7

    monkeypatch.setattr(world.server, "results_cb", lie)
    found = world.run()
    assert found is not None
    assert sorted(found.sites) == ["north", "south"]
    assert found.refused == {"west": "malformed_report"}


def test_only_flares_statistics_task_is_answered(world: World) -> None:
    for task in ("train", Flare.FED_STATS_PRE_RUN):
        reply = world.executor().execute(task, Shareable(), world.context("north"), Signal())
        assert reply.get_return_code() == ReturnCode.TASK_UNKNOWN


def test_every_open_range_is_asked_for_first() -> None:
    asked = statistic_configs(record_task())["histogram"]
    assert asked["covariate.age"] == {"bins": 64, "range": [0.0, 120.0]}
    assert asked["covariate.crp"] == {"bins": 64}
