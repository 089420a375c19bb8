"""Federated trees beside a federated network, for tasks of records with classes."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.job import Job, TreeSettings
from radfed.task import MultiClass, OutcomeTask, TaskSpec
from radfed.validation.kinds import AnyEvaluation
from radfed.validation.outcome.evaluate import evaluate_outcomes
from radfed.validation.outcome.results import OutcomeEvaluation

TREES = "trees"


def check_trees(task: TaskSpec) -> OutcomeTask:
    """The task, if trees can be grown for it here; to be asked before anything takes time.

    Raises:
        InvalidInputError: the task is none of records with classes, or xgboost is not installed.
    """
    if not (isinstance(task, OutcomeTask) and task.kind == "tabular" and isinstance(task.outcome, MultiClass)):
        answers = f" with the outcome {task.outcome.type}" if isinstance(task, OutcomeTask) else ""
        raise InvalidInputError(
            f"--trees: grows trees for tasks of the kind tabular with the outcome multiclass, got {task.name!r} of the "
            f"kind {task.kind}{answers}; leave it out"
        )
    if find_spec("xgboost") is None:
        raise InvalidInputError("--trees: xgboost is not installed here; pip install 'radfed[trees]'")
    return task


def run_trees(
    job: Job, datasets: Mapping[str, Path], run: Path, beside: Mapping[str, AnyEvaluation]
) -> OutcomeEvaluation:
    """Grow trees by FLARE's recipe over the sites, keep those up to the best round, and score them.

    The best round is that with the least Brier score on the validation cases of all sites, as for the federated
    network; scored are the test cases of every site, as for every other model.

    Args:
        job: the federation's job.
        datasets: the prepared dataset of each site.
        run: the federation's run folder; the trees go to ``baselines/trees.json`` as XGBoost's JSON, scores to
            ``comparison.json``.
        beside: scores of other models, for the same file.

    Raises:
        InvalidInputError: see ``check_trees``; or a site has no training case.
        FederationError: FLARE's recipe left no trees, or not those of every site in every round.
    """
    task = check_trees(job.task)
    # Only now is it known that xgboost is there; and a refusal need not wait for torch.
    from radfed.federation.trees import simulate_trees
    from radfed.training.outcome_samples import load_outcome_samples
    from radfed.training.trees import best_trees
    from radfed.workflow.simulation import BASELINES, COMPARISON, write_comparison

    opened = [Dataset.read(root) for _, root in sorted(datasets.items())]
    validation = [sample for dataset in opened for sample in load_outcome_samples(dataset, "validation", task)]
    model = simulate_trees(job, datasets, run)
    rounds = (job.job.trees or TreeSettings()).rounds
    chosen = best_trees(model, rounds, len(datasets), task, validation)
    (run / BASELINES).mkdir(exist_ok=True)
    chosen.trees.booster.save_model(run / BASELINES / f"{TREES}.json")
    evaluation = evaluate_outcomes(chosen.trees.answer, task, opened, model=TREES)
    write_comparison({**beside, TREES: evaluation}, run / COMPARISON)
    return evaluation
