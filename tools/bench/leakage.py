"""How much models of one task leak: as shipped, trained far too long, and the same with differential privacy.

    python tools/bench/leakage.py heart_disease_tabular --dataset bench-heart/cleveland --dataset bench-heart/va
    python tools/bench/leakage.py pneumonia_classification --dataset bench-pneumonia/seed-0/sites/s2 --patients 100

Each model is trained on the training cases of all datasets together, with as many steps as the federation takes in all
or those that are given, and audited as ``radfed audit leakage`` does. With ``--patients`` few are drawn of each
dataset, as many members as others. Prints a Markdown table, a row a model.
"""

import argparse
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radfed.dataset.layout import Case, Dataset
from radfed.job import Job, find_job
from radfed.privacy.leakage import Leakage, pool_leakage, site_leakage
from radfed.privacy.torch_model import TorchModel
from radfed.privacy.trained import train_as_job
from radfed.task import OutcomeTask
from radfed.training.kinds import load_cases, trainer_for
from radfed.weights import weights_digest


def train_and_audit(job: Job, datasets: Mapping[str, Dataset]) -> Leakage:
    """Train on all sites' training cases together, and attack the model at each site."""
    samples = [sample for dataset in datasets.values() for sample in load_cases(dataset, "training", job.task)]
    owners = {case.id: f"{site}/{case.patient}" for site, dataset in datasets.items() for case in dataset.cases}
    steps = job.job.federation.rounds * job.job.federation.local_steps
    trainer = trainer_for(job.task, job.job.training, "pooled", steps, torch.device("cpu"))
    train_as_job(job, trainer, samples, owners, steps)
    model = TorchModel.of(job.task, trainer.weights(), weights_digest(trainer.weights()))
    return pool_leakage({site: site_leakage(model, dataset) for site, dataset in datasets.items()}, tuple(datasets))


def drawn(dataset: Dataset, count: int, seed: int) -> Dataset:
    """The dataset with so many patients of the training split, and as many of the others."""
    random = np.random.default_rng(seed)

    def some(cases: Iterable[Case]) -> set[str]:
        patients = sorted({case.patient for case in cases})
        return set(random.choice(patients, min(count, len(patients)), replace=False))

    members = some(dataset.split("training"))
    others = some(case for case in dataset.cases if case.split != "training")
    kept = tuple(case for case in dataset.cases if case.patient in members | others)
    return dataclasses.replace(dataset, cases=kept)


def overfitted(job: Job, given: argparse.Namespace, epsilon: float | None) -> Job:
    """The job with other steps and privacy, without what keeps from learning by heart.

    Of records with a layer of another width; of images without batch norm, which privacy does not allow.
    """
    content: dict[str, Any] = job.model_dump(mode="json")
    training, network = content["job"]["training"], content["task"]["network"]
    content["job"]["federation"] |= {"rounds": 1, "local_steps": given.steps}
    off = {"affine_probability": 0, "intensity_probability": 0, "noise_probability": 0}
    training |= {"seed": given.seed, "weight_decay": 0, "augmentation": training["augmentation"] | off}
    if given.batch:
        training["batch_size"] = given.batch
    if isinstance(job.task, OutcomeTask) and job.task.image is None:
        network |= {"hidden": [given.hidden], "dropout": 0}
    for part in (network, network.get("encoder") or {}):
        if part.get("args", {}).get("norm") == "batch":
            part["args"]["norm"] = "instance"
    if epsilon is not None:
        training["privacy"] = {"epsilon": epsilon, "delta": 1e-4}
    return Job.check(content, "bench")


def row(name: str, found: Leakage) -> str:
    """One line of the table, of the best attack."""
    assert found.pooled is not None
    attack = found.pooled.attacks[found.pooled.best]
    hits, gap = attack.true_positives, found.pooled.attacks["loss"].gap
    return (
        f"| {name} | {found.pooled.members} / {found.pooled.others} | {found.pooled.best} | {attack.auc.value:.2f} "
        f"({attack.auc.low:.2f} to {attack.auc.high:.2f}) | {hits.rate.value:.1%} ({hits.rate.low:.1%} to "
        f"{hits.rate.high:.1%}) | {hits.by_chance:.1%} | {gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f}) | "
        f"{found.verdict} |"
    )


def main() -> None:
    """Train, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="a shipped job's name, or a folder")
    parser.add_argument("--dataset", type=Path, action="append", required=True)
    parser.add_argument("--steps", type=int, default=3000, help="of the overfitted models")
    parser.add_argument("--hidden", type=int, default=128, help="width of their layer, of records")
    parser.add_argument("--batch", type=int, help="cases in their steps; default: as shipped")
    parser.add_argument("--patients", type=int, help="members, and others, to draw of each dataset; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the overfitted models, and of the draw")
    parser.add_argument("--overfitted-only", action="store_true", help="leave the model as shipped out")
    parser.add_argument("--epsilon", type=float, nargs="*", default=[8.0, 2.0])
    given = parser.parse_args()
    job, datasets = find_job(given.job), {(d := Dataset.read(root)).site: d for root in given.dataset}
    if given.patients:
        datasets = {site: drawn(dataset, given.patients, given.seed) for site, dataset in datasets.items()}
    print("| model | members / others | best attack | AUC | true positives | by chance | gap of the loss | verdict |")
    print("|---|---|---|---|---|---|---|---|")
    if not given.overfitted_only:
        print(row("as shipped", train_and_audit(job, datasets)), flush=True)
    for epsilon in (None, *given.epsilon):
        name = f"overfitted, {given.steps} steps" + (f", epsilon {epsilon:g}" if epsilon else "")
        found = train_and_audit(overfitted(job, given, epsilon), datasets)
        print(row(name, found), flush=True)


if __name__ == "__main__":
    main()
