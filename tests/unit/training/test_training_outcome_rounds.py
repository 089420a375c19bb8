"""Rounds of federated averaging without FLARE: sessions of three sites, and the server's own aggregation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_world import outcome_task, write_outcome_dataset  # type: ignore[import-not-found]

from radfed.dataset.layout import Dataset
from radfed.federation.aggregation import Update, aggregate
from radfed.federation.messages import Report
from radfed.job import Job, find_job
from radfed.metrics.pooling import TestReport, pool
from radfed.site.config import SiteSettings
from radfed.task import OutcomeTask
from radfed.training.baselines import train_baseline
from radfed.training.initial import main as write_initial
from radfed.training.kinds import load_cases
from radfed.training.process import Request
from radfed.training.session import Session
from radfed.weights import load_weights, save_weights

SITES = ("north", "valley", "coast")


def job_of(task: OutcomeTask, rounds: int, steps: int) -> Job:
    content = find_job("phantom_segmentation").model_dump(mode="json")
    content["task"] = task.model_dump(mode="json")
    content["job"]["federation"] |= {"rounds": rounds, "local_steps": steps}
    content["job"]["training"] |= {"batch_size": 16, "learning_rate": 0.03, "warmup_steps": 1}
    return Job.check(content, "test")


def federate(job: Job, place: Path) -> tuple[list[float], dict[str, TestReport | None]]:
    """The pooled metric of the model that each round began with, and what the sites report of the last one."""
    job.write_json(place / "job.json")
    write_initial(place / "job.json", place / "model.safetensors")
    sessions = {}
    for number, name in enumerate(SITES):
        assert isinstance(job.task, OutcomeTask)
        counts = {"training": 20 + 15 * number, "validation": 12, "test": 10}
        data = write_outcome_dataset(place / name / "data", name, job.task, counts, seed=number)
        site = SiteSettings(name=name, dataset=data, threads=1).model_dump(mode="json")
        sessions[name] = Session.open(place / "job.json", site, name)
    metrics = []
    for number in range(1, job.job.federation.rounds + 1):
        reports, updates = [], []
        for name, session in sessions.items():
            (place / name / "states").mkdir(exist_ok=True)
            out = place / name / "out.safetensors"
            asked = Request(
                do="train", weights=place / "model.safetensors", round=number, out=out, states=place / name / "states"
            )
            reports.append(Report.check(dict(session.work(asked, lambda: False)), "report"))
            updates.append(Update(name, load_weights(out), reports[-1].cases))
        save_weights(place / "model.safetensors", aggregate(updates))
        known = [(report.metric, report.metric_cases) for report in reports if report.metric is not None]
        if known:
            metrics.append(sum(value * cases for value, cases in known) / sum(cases for _, cases in known))
    tests = {
        name: TestReport.check(
            dict(session.work(Request(do="test", weights=place / "model.safetensors"), bool)), "test"
        )
        for name, session in sessions.items()
    }
    return metrics, dict(tests)


@pytest.mark.parametrize(
    ("encoder", "covariates", "outcome", "steps"),
    [
        (None, 3, "multiclass", 10),
        (None, 3, "survival", 10),
        ("ResNet", 0, "multiclass", 12),
        ("ResNet", 2, "multilabel", 12),
    ],
)
def test_three_sites_learn_together_and_report_sums(
    encoder: str | None, covariates: int, outcome: str, steps: int, tmp_path: Path
) -> None:
    task = outcome_task(encoder, covariates, outcome, hidden=(8,) if encoder and covariates else ())
    metrics, tests = federate(job_of(task, rounds=4, steps=steps), tmp_path)
    assert len(metrics) == 3
    assert metrics[-1] > 0.8
    found = pool("0" * 64, tests)
    assert found.silent == ()
    # A count of right answers is held back by a site where one or two cases are wrong.
    assert set(task.measured) - {"accuracy"} <= set(found.pooled) <= set(task.measured)
    # Chance is a half, for a case's pairs as for its class.
    assert all(score.mean > 0.65 for score in found.pooled.values())
    assert all(report is not None and report.cases <= 10 for report in tests.values())


def test_a_baseline_of_an_outcome_task_keeps_its_best_model(tmp_path: Path) -> None:
    task = outcome_task(covariates=3)
    data = Dataset.read(
        write_outcome_dataset(tmp_path / "d", "north", task, {"training": 40, "validation": 20}, seed=1)
    )
    seen: list[tuple[int, float | None]] = []
    best = train_baseline(
        "local-north",
        task,
        job_of(task, 1, 1).job.training,
        load_cases(data, "training", task),
        load_cases(data, "validation", task),
        steps=30,
        checkpoints=3,
        device=torch.device("cpu"),
        on_checkpoint=lambda step, metric: seen.append((step, metric)),
    )
    assert [step for step, _ in seen] == [10, 20, 30]
    assert best.best_metric == max(metric or 0.0 for _, metric in seen)
    assert all(np.isfinite(array).all() for array in best.weights.values())
