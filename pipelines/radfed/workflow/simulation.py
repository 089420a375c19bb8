"""A federation on this machine and, if wanted, what it is compared with."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from radfed.cores import share_of_cores, thread_environment
from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SplitName
from radfed.job import Job
from radfed.training.baselines import train_baseline
from radfed.training.device import choose_device, claim_threads
from radfed.training.predictor import TorchPredictor
from radfed.training.samples import Sample, load_samples
from radfed.validation.evaluate import evaluate
from radfed.validation.results import Evaluation, dump_evaluations
from radfed.weights import save_weights

BASELINES = "baselines"
COMPARISON = "comparison.json"
POOLED = "pooled"


def run_baselines(
    job: Job, datasets: Mapping[str, Path], run: Path, on_done: Callable[[Evaluation], None]
) -> dict[str, Evaluation]:
    """Train each site alone and all data pooled, with the federation's total of optimiser steps.

    The total is ``sites * rounds * local_steps``. The pooled model takes all of it; a site alone takes the steps that
    it takes in the federation, so that the local models together take the same total, and each site does the same
    work with and without the others. Each model is validated as often as the federation, keeps its best, and is
    scored on every site's test cases.

    Args:
        job: the federation's job.
        datasets: the prepared dataset of each site.
        run: the federation's run folder; models go to ``baselines/``, scores to ``comparison.json``.
        on_done: called with the scores of each model.

    Returns:
        The scores by model: ``pooled``, ``local-<site>``.
    """
    (run / BASELINES).mkdir(parents=True, exist_ok=True)
    # The longest first: pooled loads and validates the most.
    names = [POOLED, *(f"local-{site}" for site in sorted(datasets))]
    workers = min(len(names), share_of_cores(1))
    os.environ.update(thread_environment(workers))
    results: dict[str, Evaluation] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_baseline, name, job, dict(datasets), run, share_of_cores(workers)) for name in names]
        for task in as_completed(tasks):
            evaluation = task.result()
            results[evaluation.model] = evaluation
            on_done(evaluation)
    ordered = {name: results[name] for name in names}
    dump_evaluations(ordered, run / COMPARISON)
    return ordered


def _baseline(name: str, job: Job, datasets: dict[str, Path], run: Path, threads: int) -> Evaluation:
    """Train and score one model, in a process of its own."""
    claim_threads(threads)
    device = choose_device("auto")
    opened = {site: Dataset.read(root) for site, root in sorted(datasets.items())}
    chosen = list(opened.values()) if name == POOLED else [opened[name.removeprefix("local-")]]
    federation = job.job.federation
    model = train_baseline(
        name,
        job.task,
        job.job.training,
        _samples(chosen, "training", job),
        _samples(chosen, "validation", job),
        steps=len(chosen) * federation.rounds * federation.local_steps,
        checkpoints=federation.rounds,
        device=device,
    )
    save_weights(run / BASELINES / f"{name}.safetensors", model.weights)
    predict = TorchPredictor.of(job.task, model.weights, device)
    return evaluate(predict, job.task, list(opened.values()), model=name)


def _samples(datasets: list[Dataset], split: SplitName, job: Job) -> list[Sample]:
    return [sample for dataset in datasets for sample in load_samples(dataset, split, job.task)]
