"""A likelihood-ratio attack with shadow models (LiRA, Carlini et al. 2022, IEEE S&P).

Models are trained as the audited one was, each on a random half of all patients; each has a twin on the other half, so
that every patient is in as many as out. How a patient's loss is distributed over the models that saw that patient, and
over the others, says which of the two the audited model's loss fits. The variance is one for all patients of a kind,
as the paper advises with few models. An attacker would have other patients to train shadows on, not these very ones:
this is the worst case.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Case, Dataset
from radfed.errors import InvalidInputError
from radfed.job import Job
from radfed.privacy.leakage_scores import Model, Progress, patient_scores
from radfed.privacy.torch_model import TorchModel
from radfed.privacy.trained import train_as_job
from radfed.training.device import choose_device
from radfed.training.kinds import load_cases, trainer_for
from radfed.training.samples import Prepared

_FEWEST = 4
_LEAST_SPREAD = 1e-6
Key = tuple[str, str]
"""Site and patient."""


def shadow_scores(
    model: Model, job: Job, datasets: Mapping[str, Dataset], shadows: int, on_progress: Progress | None = None
) -> dict[str, dict[str, float]]:
    """Log likelihood ratio of membership, by site and patient.

    Args:
        model: the one that is audited.
        job: as it was trained; shadows take all of its optimiser steps on the cases of all sites.
        datasets: by site.
        shadows: how many models to train, an even number.
        on_progress: called with the models done.

    Raises:
        InvalidInputError: not an even number of at least 4.
        TrainingError: a shadow cannot be trained.
    """
    if shadows < _FEWEST or shadows % 2:
        raise InvalidInputError(
            f"shadow models come in pairs: give an even number of at least {_FEWEST}, got {shadows}"
        )
    samples = _samples(job, datasets)
    patients = list(samples)
    owners = {sample.case: f"{site}/{patient}" for (site, patient), own in samples.items() for sample in own}
    target = _logits(model, datasets, patients)
    inside, found = np.zeros((shadows, len(patients)), dtype=bool), np.empty((shadows, len(patients)))
    random = np.random.default_rng(job.job.training.seed)
    for number in range(shadows):
        # The second of a pair has the patients that the first has not.
        half = ~inside[number - 1] if number % 2 else random.permutation(len(patients)) < len(patients) // 2
        inside[number] = half
        chosen = [sample for index in np.flatnonzero(half) for sample in samples[patients[index]]]
        found[number] = _logits(_train(job, chosen, owners, number), datasets, patients)
        if on_progress is not None:
            on_progress(number + 1, shadows)
    ratios = likelihood_ratios(target, found, inside)
    scores: dict[str, dict[str, float]] = {site: {} for site in datasets}
    for (site, patient), ratio in zip(patients, ratios, strict=True):
        scores[site][patient] = float(ratio)
    return scores


def likelihood_ratios(
    target: NDArray[np.float64], shadows: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Log of how much likelier each patient's value is with the patient in the training than without.

    Args:
        target: of the audited model ``(P,)``.
        shadows: of the shadow models ``(N, P)``.
        inside: who each was trained on ``(N, P)``; everybody in some and not in others.

    Returns:
        ``(P,)``.
    """
    logs = []
    for who in (inside, ~inside):
        models, mean = who.sum(axis=0), np.mean(shadows, axis=0, where=who)
        squares = np.sum((shadows - mean) ** 2, axis=0, where=who)
        variance = float(squares.sum() / (models - 1).sum())
        # The mean of a few models is off by itself, which a new value's distance from it holds too.
        spread = max(float(np.sqrt(variance * (1 + 1 / models.mean()))), _LEAST_SPREAD)
        logs.append(-(((target - mean) / spread) ** 2) / 2 - np.log(spread))
    return np.asarray(logs[0] - logs[1], dtype=np.float64)


def _train(job: Job, chosen: Sequence[Prepared], owners: Mapping[str, str], number: int) -> TorchModel:
    federation, device = job.job.federation, choose_device("auto")
    steps = federation.rounds * federation.local_steps
    trainer = trainer_for(job.task, job.job.training, f"shadow-{number}", steps, device)
    train_as_job(job, trainer, chosen, owners, steps)
    return TorchModel.of(job.task, trainer.weights(), "0" * 64, device)


def _samples(job: Job, datasets: Mapping[str, Dataset]) -> dict[Key, list[Prepared]]:
    """The prepared cases of every patient of every split."""
    found: dict[Key, list[Prepared]] = {}
    for site, dataset in sorted(datasets.items()):
        owner = {case.id: case.patient for case in dataset.cases}
        for split in ("training", "validation", "test"):
            for sample in load_cases(dataset, split, job.task):
                found.setdefault((site, owner[sample.case]), []).append(sample)
    return found


def _logits(model: Model, datasets: Mapping[str, Dataset], patients: Sequence[Key]) -> NDArray[np.float64]:
    """The log odds of ``exp(-loss)`` of each patient: close to normal, where a loss is not."""
    values: dict[Key, float] = {}
    for site, dataset in datasets.items():
        cases: tuple[Case, ...] = dataset.cases
        for patient, score in patient_scores(model, dataset, cases)["loss"].items():
            values[site, patient] = score
    scores = np.minimum(np.array([values[key] for key in patients]), -1e-9)
    return np.asarray(scores - np.log(-np.expm1(scores)), dtype=np.float64)
