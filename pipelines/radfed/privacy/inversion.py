"""Gradient inversion: what an honest but curious server could draw from what a site sends it.

The attacker knows the model, the task, the training settings and the labels, and looks for inputs whose gradient points
the way of what was sent (Geiping et al. 2020, NeurIPS: cosine distance, total variation, signed steps, images kept in
the range of others). Two views: the gradient of a single case without any protection, which shows whether the attack
works at all on this network; and the update of a whole first round as the trainer makes it, with its batch size,
augmentation, local steps, optimiser and differential privacy. The model is the initial one, on which gradients tell
most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics.regression import SSIMMetric

from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.job import Job, TrainingSettings
from radfed.metrics.small_cells import LEAST_PATIENTS
from radfed.privacy.inversion_report import Inversion, Reconstruction
from radfed.privacy.trained import first_round
from radfed.training.device import choose_device
from radfed.training.kinds import load_cases, trainer_for
from radfed.training.samples import Prepared
from radfed.training.trainer import Batch, Trainer

ATTACKS = max(4, LEAST_PATIENTS)
"""Made of each view: a figure over fewer would be a patient's."""
_RATE, _SMOOTH = 0.1, 1e-4
_WINDOW = 7
_OTHERS = 16
_Direction = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class _Victim:
    """A site's training cases, and whose they are."""

    site: str
    samples: Sequence[Prepared]
    patients: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """One attack: how close it came to the true input that it met best, and how close the baseline does."""

    error: float
    psnr: tuple[float, float]
    ssim: tuple[float, float] | None
    better: bool


def invert_updates(job: Job, datasets: Mapping[str, Dataset], iterations: int) -> Inversion:
    """Attack what sites would send in the first round; figures only, over several sites and batches.

    Args:
        job: how the sites train.
        datasets: by site; each has training cases.
        iterations: of the attacker's optimiser.

    Raises:
        InvalidInputError: there are fewer training cases than patients that a figure must be of.
        TrainingError: the trainer cannot train.
    """
    sites = [_victim(job, site, dataset) for site, dataset in sorted(datasets.items())]
    sites = [one for one in sites if len(set(one.patients.values())) >= LEAST_PATIENTS]
    if not sites:
        raise InvalidInputError(f"no site trained on {LEAST_PATIENTS} patients, so no figure could be told")
    turns = [sites[number % len(sites)] for number in range(ATTACKS)]
    gradients = [_attack_gradient(job, victim, number, iterations) for number, victim in enumerate(turns)]
    updates = [_attack_update(job, victim, number, iterations) for number, victim in enumerate(turns)]
    training = job.job.training
    return Inversion(
        iterations=iterations,
        private=training.privacy is not None,
        found=(
            _summary("gradient of one case", 1, 1, gradients),
            _summary("update of a round", training.batch_size, job.job.federation.local_steps, updates),
        ),
    )


def _victim(job: Job, site: str, dataset: Dataset) -> _Victim:
    patients = {case.id: case.patient for case in dataset.split("training")}
    return _Victim(site, load_cases(dataset, "training", job.task), patients)


def _attack_gradient(job: Job, victim: _Victim, number: int, iterations: int) -> Outcome:
    settings = job.job.training.model_copy(update={"batch_size": 1, "privacy": None})
    trainer = _trainer(job, settings, victim.site)
    # Every attack of a site is on another patient, so that the figures are of as many as may be told.
    owners = sorted(set(victim.patients.values()))
    chosen = owners[number % len(owners)]
    own = [sample for sample in victim.samples if victim.patients[sample.case] == chosen]
    rest = [sample for sample in victim.samples if victim.patients[sample.case] != chosen]
    [truth], others = _drawn(trainer, own, number, 1), _drawn(trainer, rest, number, _OTHERS)
    sent = _gradient(trainer, truth.inputs, truth.target, keep=False)
    made = _reconstruct(trainer, sent, truth, others, number, iterations)
    return compare(made, [truth], others)


def _attack_update(job: Job, victim: _Victim, number: int, iterations: int) -> Outcome:
    settings = job.job.training.model_copy(update={"seed": number})
    trainer = _trainer(job, settings, victim.site)
    seen, before = first_round(job, trainer, victim.samples, victim.patients)
    after = trainer.network.parameters()
    sent = tuple(old - new.detach() for old, new in zip(before, after, strict=True))
    with torch.no_grad():
        for parameter, old in zip(trainer.network.parameters(), before, strict=True):
            parameter.copy_(old)
    others = _drawn(_trainer(job, settings, victim.site), victim.samples, number + ATTACKS, _OTHERS)
    made = _reconstruct(trainer, sent, _together(seen, settings.batch_size), others, number, iterations)
    return compare(made, seen, others)


def _together(seen: Sequence[Batch], size: int) -> Batch:
    """As many of the inputs as a batch has; with differential privacy they come one by one."""
    inputs = tuple(torch.cat(parts)[:size] for parts in zip(*(batch.inputs for batch in seen), strict=True))
    return Batch(inputs, torch.cat([batch.target for batch in seen])[:size], ())


def _trainer(job: Job, settings: TrainingSettings, site: str) -> Trainer[Prepared]:
    federation = job.job.federation
    return trainer_for(job.task, settings, site, federation.rounds * federation.local_steps, choose_device("auto"))


def _drawn(trainer: Trainer[Prepared], samples: Sequence[Prepared], seed: int, count: int) -> list[Batch]:
    return list(trainer.batches(samples, np.random.default_rng(seed), seed, count))


def _gradient(
    trainer: Trainer[Prepared], inputs: Sequence[torch.Tensor], target: torch.Tensor, keep: bool
) -> _Direction:
    network = trainer.network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.eval()
    loss = trainer.loss(network(*inputs).float(), target)
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=keep, materialize_grads=True)


def _reconstruct(
    trainer: Trainer[Prepared], sent: _Direction, known: Batch, others: Sequence[Batch], seed: int, iterations: int
) -> tuple[torch.Tensor, ...]:
    """Inputs of the known batch's shape whose gradient points the way of what was sent.

    Images stay within the values that others have: a normalised network hardly sees their scale, so they would drift.
    """
    random = torch.Generator().manual_seed(seed)
    guesses = [
        torch.randn(value.shape, generator=random).to(value.device).requires_grad_() for value in known.inputs
    ]  # fmt: skip
    seen = [torch.cat(parts) for parts in zip(*(batch.inputs for batch in others), strict=True)]
    ranges = [(float(part.min()), float(part.max())) for part in seen]
    optimiser = torch.optim.Adam(guesses, lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    length = torch.sqrt(sum((part**2).sum() for part in sent) + torch.tensor(1e-30, device=sent[0].device))
    for _ in range(iterations):
        found = _gradient(trainer, guesses, known.target, keep=True)
        inner = sum((a * b).sum() for a, b in zip(found, sent, strict=True))
        own = torch.sqrt(sum((part**2).sum() for part in found) + torch.tensor(1e-30, device=sent[0].device))
        away: torch.Tensor = 1 - inner / (own * length) + _SMOOTH * sum(_variation(guess) for guess in guesses)
        for guess, slope in zip(guesses, torch.autograd.grad(away, guesses), strict=True):
            guess.grad = slope.sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for guess, (low, high) in zip(guesses, ranges, strict=True):
                if guess.dim() > 2:
                    guess.clamp_(low, high)
    return tuple(guess.detach() for guess in guesses)


def _variation(value: torch.Tensor) -> torch.Tensor:
    """Mean step between neighbours of images ``(B, C, ...)``; nothing of records ``(B, width)``."""
    axes = range(2, value.dim())
    return sum((value.diff(dim=axis).abs().mean() for axis in axes), torch.zeros((), device=value.device))


def compare(made: Sequence[torch.Tensor], truth: Sequence[Batch], others: Sequence[Batch]) -> Outcome:
    """Of the first input (the image, where there is one): the best match of any made one with any true one.

    Args:
        made: what an attack came to.
        truth: what was trained on.
        others: training inputs whose mean is the baseline.
    """
    true = torch.cat([batch.inputs[0].detach() for batch in truth]).float().cpu().contiguous()
    mean = torch.cat([batch.inputs[0].detach() for batch in others]).float().cpu().mean(dim=0)
    rows = [(guess, real) for guess in made[0].float().cpu() for real in true]
    best = min(rows, key=lambda pair: _error(*pair))
    nearest = min(true, key=lambda real: _error(mean, real))
    # What nobody would get without the update: the baseline may choose its best match too.
    error, baseline = _error(*best), _error(mean, nearest)
    is_image = true.dim() > 2
    return Outcome(
        error / max(baseline, 1e-12),
        (_psnr(*best), _psnr(mean, nearest)),
        (_ssim(*best), _ssim(mean, nearest)) if is_image else None,
        error < baseline,
    )


def _error(guess: torch.Tensor, real: torch.Tensor) -> float:
    return float(torch.sqrt(torch.mean((guess - real) ** 2)))


def _range(real: torch.Tensor) -> float:
    return max(float(real.max() - real.min()), 1e-6)


def _psnr(guess: torch.Tensor, real: torch.Tensor) -> float:
    return float(20 * np.log10(_range(real) / max(_error(guess, real), 1e-9)))


def _ssim(guess: torch.Tensor, real: torch.Tensor) -> float:
    spatial = real.dim() - 1
    metric = SSIMMetric(spatial, data_range=_range(real), win_size=min(_WINDOW, *real.shape[1:]))
    return float(metric(guess[None], real[None]).mean())


def _summary(seen: str, batch: int, steps: int, outcomes: Sequence[Outcome]) -> Reconstruction:
    psnr = np.array([one.psnr for one in outcomes]).mean(axis=0)
    ssims = [one.ssim for one in outcomes if one.ssim is not None]
    ssim = np.array(ssims).mean(axis=0) if ssims else None
    return Reconstruction.check(
        {
            "seen": seen,
            "batch": batch,
            "steps": steps,
            "attacks": len(outcomes),
            "error": float(np.mean([one.error for one in outcomes])),
            "psnr": float(psnr[0]),
            "psnr_baseline": float(psnr[1]),
            "ssim": None if ssim is None else float(ssim[0]),
            "ssim_baseline": None if ssim is None else float(ssim[1]),
            "better": float(np.mean([one.better for one in outcomes])),
        },
        "inversion",
    )
