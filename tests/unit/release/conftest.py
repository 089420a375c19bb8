"""Runs as a federation leaves them, with an untrained network, and a release built from one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from radfed.job import FederationSettings, Job, JobSpec
from radfed.ledger import Ledger, RoundLine, SiteLine, conclude
from radfed.metrics.pooling import LabelScores, TestReport, pool
from radfed.release.package import build_release
from radfed.task import TaskSpec
from radfed.training.networks import build_network
from radfed.weights import save_weights, weights_digest

SITES = ("site-a", "site-b", "site-c")
ROUNDS = 2
MakeTask = Callable[..., TaskSpec]
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_task() -> MakeTask:
    def make(network: object = None, roi: tuple[int, int, int] = (16, 16, 16), channels: int = 1) -> TaskSpec:
        return TaskSpec.check(
            {
                "name": "two_parts",
                "description": "Finds two parts of a made-up body.",
                "intended_use": "Trying the software.",
                "channels": [{"name": f"c{index}", "modality": "MR"} for index in range(channels)],
                "labels": [{"value": 1, "name": "left_part"}, {"value": 4, "name": "right_part"}],
                "spacing": [1.0, 1.25, 1.5],
                "roi_size": roi,
                "network": network or {"name": "UNet", "args": {"channels": [4, 8], "strides": [2]}},
                "limits": {"min_size_mm": [8, 8, 8], "max_size_mm": [60, 60, 60]},
            },
            "test",
        )

    return make


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """A run folder; ``absent`` names sites that missed the last round, ``failed`` ends it after the first."""

    def make(run: Path, task: TaskSpec, absent: tuple[str, ...] = (), failed: bool = False) -> Path:
        run.mkdir(parents=True)
        job = Job(job=JobSpec(name="try", description="test", federation=FederationSettings(rounds=ROUNDS)), task=task)
        job.write_json(run / "job.json")
        (run / "task.yaml").write_text(task.to_yaml(), encoding="utf-8")
        weights = {name: tensor.numpy() for name, tensor in build_network(task, seed=5).state_dict().items()}
        save_weights(run / "best.safetensors", weights)
        sums = {label.name: LabelScores(total=4.0, squares=3.3) for label in task.labels}
        tests = {"site-a": TestReport(cases=5, labels=sums), "site-b": TestReport(cases=6, labels=sums), "site-c": None}
        (run / "evaluation.json").write_text(pool(weights_digest(weights), tests).model_dump_json(), encoding="utf-8")
        ledger = Ledger(run / "ledger.jsonl")
        for number in range(1, ROUNDS + (0 if failed else 1)):
            inside = [site for site in SITES if number < ROUNDS or site not in absent]
            for index, site in enumerate(SITES):
                accepted = site in inside
                line = SiteLine(round=number, site=site, accepted=accepted, weight=10.0 * (index + 1), loss=0.5)
                ledger.append(line if accepted else line.model_copy(update={"reason": "no_answer", "weight": None}))
            ledger.append(
                RoundLine(
                    round=number,
                    digest=weights_digest(weights),
                    accepted=len(inside),
                    metric=0.4 + number / 10,
                    metric_cases=18,
                    seconds=1.0,
                )
            )
        ledger.append(conclude(ledger.lines, SITES, ROUNDS))
        return run

    return make


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun, make_task: MakeTask) -> Path:
    """A release that nobody may change; its run missed site-c in the last round."""
    here = tmp_path_factory.mktemp("built")
    return build_release(make_run(here / "run", make_task(), absent=("site-c",)), here / "out")


@pytest.fixture
def release(built: Path, tmp_path: Path) -> Path:
    """A copy of the release, to be changed."""
    return Path(shutil.copytree(built, tmp_path / built.name))
