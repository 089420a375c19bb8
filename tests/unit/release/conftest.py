"""Runs as a federation leaves them, with an untrained network, and a release built from one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from radfed.job import FederationSettings, Job, JobSpec
from radfed.ledger import Ledger, RoundLine, SiteLine, conclude
from radfed.metrics.pooling import LabelScores, TestReport, pool
from radfed.release.package import build_release
from radfed.task import OutcomeTask, SegmentationTask
from radfed.training.networks import build_network
from radfed.weights import save_weights, weights_digest

SITES = ("site-a", "site-b", "site-c")
ROUNDS = 2
OUTCOME_KINDS = ("classification", "findings", "volumes", "multimodal", "tabular", "survival")
MakeTask = Callable[..., SegmentationTask]
MakeOutcomeTask = Callable[..., OutcomeTask]
MakeRun = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _one_day() -> Iterator[None]:
    """A release says on which day it was built; no test may see two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1767225600")
        yield


@pytest.fixture(scope="session")
def make_task() -> MakeTask:
    def make(network: object = None, roi: tuple[int, int, int] = (16, 16, 16), channels: int = 1) -> SegmentationTask:
        return SegmentationTask.check(
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
def make_outcome_task() -> MakeOutcomeTask:
    """A small task of one of ``OUTCOME_KINDS``."""
    picture = {
        "channels": [{"name": "xray", "modality": "DX"}],
        "size": [32, 24],
        "limits": {"min_size_mm": [2, 2, 1], "max_size_mm": [500, 500, 1]},
    }
    volume = {
        "channels": [{"name": "t1", "modality": "MR"}],
        "dimensions": 3,
        "size": [16, 16, 16],
        "orientation": "RAS",
        "spacing": [1.0, 1.25, 1.5],
        "limits": {"min_size_mm": [8, 8, 8], "max_size_mm": [60, 60, 60]},
    }
    record = [
        {"type": "numeric", "name": "crp", "unit": "mg/L", "lower": 0, "upper": 500, "mean": 60, "deviation": 50},
        {"type": "numeric", "name": "age", "unit": "a", "lower": 18, "upper": 120, "mean": 60, "deviation": 15,
         "required": True},
        {"type": "categorical", "name": "sex", "values": ["female", "male"]},
    ]  # fmt: skip
    encoder = {"name": "DenseNet", "args": {"init_features": 4, "growth_rate": 4, "block_config": [1, 1]}}
    classes = {"type": "multiclass", "classes": ["normal", "pneumonia"]}
    image_network, record_network = {"encoder": encoder, "features": 8}, {"hidden": [8]}
    kinds: dict[str, dict[str, object]] = {
        "classification": {"image": picture, "outcome": classes, "network": image_network},
        "findings": {
            "image": picture,
            "outcome": {"type": "multilabel", "findings": ["effusion", "nodule", "mass"]},
            "network": image_network,
        },
        "volumes": {"image": volume, "outcome": classes, "network": image_network},
        "multimodal": {
            "image": picture, "covariates": record, "outcome": classes, "network": image_network | record_network,
        },
        "tabular": {"covariates": record, "outcome": {"type": "multiclass", "classes": ["a", "b", "c"]}, "network": {}},
        "survival": {"covariates": record, "outcome": {"type": "survival"}, "network": record_network},
    }  # fmt: skip
    named = {"findings": "classification", "volumes": "classification"}

    def make(kind: str) -> OutcomeTask:
        about = {"name": f"try_{kind}", "description": "Tries the software.", "intended_use": "Trying the software."}
        return OutcomeTask.check({**about, "kind": named.get(kind, kind), **kinds[kind]}, "test")

    return make


@pytest.fixture(scope="session")
def make_run() -> MakeRun:
    """A run folder; ``absent`` names sites that missed the last round, ``failed`` ends it after the first."""

    def make(
        run: Path, task: SegmentationTask | OutcomeTask, absent: tuple[str, ...] = (), failed: bool = False
    ) -> Path:
        run.mkdir(parents=True)
        job = Job(job=JobSpec(name="try", description="test", federation=FederationSettings(rounds=ROUNDS)), task=task)
        job.write_json(run / "job.json")
        (run / "task.yaml").write_text(task.to_yaml(), encoding="utf-8")
        weights = {name: tensor.numpy() for name, tensor in build_network(task, seed=5).state_dict().items()}
        if isinstance(task, OutcomeTask):
            # A regression begins at zero, which two networks would agree on for the wrong reason.
            random = np.random.default_rng(5)
            weights |= {
                name: random.standard_normal(array.shape).astype(np.float32) * 0.3
                for name, array in weights.items()
                if name.startswith("head.") and array.ndim
            }
        save_weights(run / "best.safetensors", weights)
        sums = {name: LabelScores(total=4.0, squares=3.3) for name in task.measured}
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
