"""A federation on this machine and, if wanted, what it is compared with."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch

from radfed.cores import share_of_cores, thread_environment
from radfed.dataset.layout import Dataset
from radfed.dataset.splits import SplitName
from radfed.job import Job
from radfed.task import OutcomeTask, SegmentationTask
from radfed.training.baselines import train_baseline
from radfed.training.device import choose_device, claim_threads
from radfed.training.kinds import load_cases
from radfed.training.predictor import OutcomePredictor, TorchPredictor
from radfed.training.samples import Prepared
from radfed.validation.evaluate import evaluate
from radfed.validation.kinds import AnyEvaluation
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.results import OutcomeEvaluation, dump_outcome_evaluations
from radfed.validation.results import Evaluation, dump_evaluations
from radfed.weights import Weights, save_weights

BASELINES = "baselines"
COMPARISON = "comparison.json"
POOLED = "pooled"


def run_baselines(
    job: Job, datasets: Mapping[str, Path], run: Path, on_done: Callable[[AnyEvaluation], None]
) -> dict[str, AnyEvaluation]:
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
    results: dict[str, AnyEvaluation] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_baseline, name, job, dict(datasets), run, share_of_cores(workers)) for name in names]
        for task in as_completed(tasks):
            evaluation = task.result()
            results[evaluation.model] = evaluation
            on_done(evaluation)
    ordered = {name: results[name] for name in names}
    write_comparison(ordered, run / COMPARISON)
    return ordered


def _baseline(name: str, job: Job, datasets: dict[str, Path], run: Path, threads: int) -> AnyEvaluation:
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
    return _evaluate(job.task, model.weights, device, list(opened.values()), name)


def _evaluate(
    task: SegmentationTask | OutcomeTask, weights: Weights, device: torch.device, datasets: list[Dataset], name: str
) -> AnyEvaluation:
    """Score a model on every site's test cases."""
    match task:
        case SegmentationTask():
            return evaluate(TorchPredictor.of(task, weights, device), task, datasets, model=name)
        case OutcomeTask():
            answer = OutcomePredictor.of(task, weights, device).answer
            return evaluate_outcomes(answer, task, datasets, model=name)


def write_comparison(evaluations: Mapping[str, AnyEvaluation], path: Path) -> None:
    """Write the scores of several models of one task, and so of one kind, by name of the model."""
    masks = {name: found for name, found in evaluations.items() if isinstance(found, Evaluation)}
    answers = {name: found for name, found in evaluations.items() if isinstance(found, OutcomeEvaluation)}
    if masks:
        dump_evaluations(masks, path)
    if answers:
        dump_outcome_evaluations(answers, path)


def _samples(datasets: list[Dataset], split: SplitName, job: Job) -> list[Prepared]:
    return [sample for dataset in datasets for sample in load_cases(dataset, split, job.task)]
