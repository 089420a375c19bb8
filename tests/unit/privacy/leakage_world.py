"""Two made-up hospitals with noisy outcomes, and models of them that remember much or little."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radfed.dataset.layout import Case, Datalist, Dataset, write_lists
from radfed.dataset.splits import SplitName
from radfed.job import FederationSettings, Job, JobSpec, TrainingSettings
from radfed.ledger import Ledger, RoundLine, SiteLine, conclude
from radfed.privacy.trained import train_as_job
from radfed.task import OutcomeTask
from radfed.training.kinds import load_cases, trainer_for
from radfed.training.private import PrivateTraining
from radfed.weights import save_weights, weights_digest

SITES = ("north", "valley")
COUNTS: dict[SplitName, int] = {"training": 40, "validation": 15, "test": 30}
LABS = 20


def table_task(hidden: tuple[int, ...]) -> OutcomeTask:
    """Ill or well by twenty numbers, of which one tells anything."""
    return OutcomeTask.check(
        {
            "name": "made_up", "kind": "tabular", "description": "PHANTOM", "intended_use": "tests",
            "covariates": [{"type": "numeric", "name": f"lab_{number}"} for number in range(LABS)],
            "outcome": {"type": "multiclass", "classes": ["well", "ill"]}, "network": {"hidden": hidden},
        },
        "test",
    )  # fmt: skip


def table_job(hidden: tuple[int, ...], steps: int, **training: Any) -> Job:  # noqa: ANN401 - settings of several types
    """A job of one round."""
    settings = TrainingSettings.model_validate({"batch_size": 10, "learning_rate": 1e-2, "weight_decay": 0, **training})
    federation = FederationSettings(rounds=1, local_steps=steps)
    return Job(
        job=JobSpec(name="try", description="t", federation=federation, training=settings), task=table_task(hidden)
    )


def write_site(root: Path, counts: dict[SplitName, int], seed: int, twice: bool = False) -> Path:
    """A prepared dataset in which a third of the outcomes is wrong; ``twice``: each patient has two records."""
    random = np.random.default_rng(seed)
    cases = []
    for split, count in counts.items():
        for number in range(count):
            labs = random.normal(size=LABS)
            ill = (labs[0] > 0) != (random.random() < 1 / 3)
            patient = hashlib.sha256(f"{root.name}/{split}/{number}".encode()).hexdigest()
            for copy in range(1 + twice):
                key = hashlib.sha256(f"{patient}{copy}".encode()).hexdigest()
                cases.append(
                    Case(
                        id=f"case-{key[:12]}", patient=f"pat-{patient[:12]}", split=split, digest=key, channels=0,
                        covariates={f"lab_{i}": float(lab) for i, lab in enumerate(labs)},
                        outcome="ill" if ill else "well",
                    )
                )  # fmt: skip
    root.mkdir(parents=True)
    lists: dict[str, Any] = dict.fromkeys(("training", "validation", "test"), ())
    about = {"name": "made_up", "description": "d", "site": root.name, "task": "made_up", "phantom": True}
    write_lists(root, Datalist(**about, labels={}, channels={}, **lists), tuple(cases), ())
    return root


def write_sites(root: Path, counts: dict[SplitName, int] | None = None) -> dict[str, Path]:
    """The datasets of both hospitals."""
    return {site: write_site(root / site, counts or COUNTS, seed) for seed, site in enumerate(SITES)}


def trained_run(folder: Path, job: Job, sites: dict[str, Path]) -> Path:
    """A run folder as ``radfed job simulate`` leaves it, of a model trained on both hospitals' training cases."""
    folder.mkdir(parents=True)
    datasets = {site: Dataset.read(root) for site, root in sites.items()}
    samples = [sample for dataset in datasets.values() for sample in load_cases(dataset, "training", job.task)]
    owners = {case.id: case.patient for dataset in datasets.values() for case in dataset.cases}
    steps = job.job.federation.local_steps
    trainer = trainer_for(job.task, job.job.training, "all", steps, torch.device("cpu"))
    if job.job.training.privacy is None:
        train_as_job(job, trainer, samples, owners, steps)
    else:
        # Noise that is the same in every run of the tests, where a job takes the operating system's.
        noise = np.random.default_rng(0).bytes
        PrivateTraining(trainer, job.task, job.job.training.privacy, samples, owners, steps, noise).train(0, steps)
    job.write_json(folder / "job.json")
    save_weights(folder / "best.safetensors", trainer.weights())
    ledger, digest = Ledger(folder / "ledger.jsonl"), weights_digest(trainer.weights())
    for site, dataset in datasets.items():
        ledger.append(SiteLine(round=1, site=site, accepted=True, weight=len(dataset.split("training")), loss=0.1))
    ledger.append(RoundLine(round=1, digest=digest, accepted=2, metric=0.8, metric_cases=30, seconds=1.0))
    ledger.append(conclude(ledger.lines, SITES, 1))
    return folder
