"""Training with differential privacy: DP-SGD (Abadi et al. 2016) whose unit is the patient.

In each step every patient of the site is drawn with one probability, independently of the others (Poisson sampling).
A drawn patient adds the gradient of one of their cases, clipped to ``max_grad_norm``; Gaussian noise is added once a
step. Clipping, summing and noise are Opacus' (``DPOptimizer``). The gradient of a patient is that of a batch of one:
Opacus' own hooks fail on layers that work in place, as four of the six networks here do; see docs/decisions/0028.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.errors import TrainingError
from radfed.job import PrivacySettings
from radfed.task import TaskSpec
from radfed.training.privacy_account import Stretch, noise_for
from radfed.training.privacy_networks import check_private, loss_of_case
from radfed.training.samples import Prepared
from radfed.training.trainer import Trainer

Entropy = Callable[[int], bytes]
"""Gives so many random bytes. Whoever can guess them can take the noise off an update."""

# Of the state of torch's generator on the CPU (ATen's CPUGeneratorImplStateLegacy), in words of 8 bytes: seed, position
# and next word stand before the 624 words of the Mersenne Twister.
_BEFORE_WORDS, _WORDS = 3, 624


class PrivateTraining:
    """Takes the optimiser steps of a trainer with differential privacy, in float32.

    Args:
        trainer: whose network and optimiser are trained.
        task: the contract.
        settings: of privacy.
        samples: prepared training cases, at least one.
        patients: the patient of each case, by pseudonym.
        planned: steps of the whole training, by which the noise is chosen for a budget.
        entropy: where randomness comes from; nothing of it follows from the job's seed. Another than the operating
            system's is for tests alone.

    Raises:
        InvalidInputError: the network or its loss mixes patients, or no noise is enough for the budget.
        TrainingError: there is no training case, or too many patients for ``delta``.
    """

    def __init__(
        self,
        trainer: Trainer[Prepared],
        task: TaskSpec,
        settings: PrivacySettings,
        samples: Sequence[Prepared],
        patients: Mapping[str, str],
        planned: int,
        entropy: Entropy = os.urandom,
    ) -> None:
        from opacus.optimizers import DPOptimizer

        check_private(task, trainer.network)
        self.trainer, self.settings, self._entropy = trainer, settings, entropy
        self._patients = _by_patient(samples, patients)
        count = len(self._patients)
        if not count:
            raise TrainingError(f"{trainer.name}: there is no training case; ingest more or change the split")
        if settings.delta * count >= 1:
            raise TrainingError(
                f"training.privacy.delta: got {settings.delta:g}, and with {count} patients it must be less than "
                f"{1 / count:g}: a chance of delta for each patient would allow to give one away"
            )
        expected = min(trainer.settings.batch_size, count)
        # From here on the trainer makes batches of one case.
        trainer.settings = trainer.settings.model_copy(update={"batch_size": 1})
        self.sampling_rate = expected / count
        self.noise_multiplier = noise_for(settings, self.sampling_rate, planned)
        self._loss = loss_of_case(task, trainer.loss)
        self._noise = torch.Generator(trainer.device)
        self._optimiser = DPOptimizer(
            trainer.optimiser,
            noise_multiplier=self.noise_multiplier,
            max_grad_norm=settings.max_grad_norm,
            expected_batch_size=expected,
            generator=self._noise,
            # Adds up several draws, against what the last bits of a float tell of it (Holohan and Braghin 2021).
            secure_mode=True,
        )

    def cost(self, steps: int) -> Stretch:
        """What so many steps are to the accountant."""
        return Stretch(noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate, steps=steps)

    def train(self, first_step: int, steps: int, stop: Callable[[], bool] = lambda: False) -> float:
        """Take optimiser steps; gives the seconds on the clock. The mean loss is not told: no noise is on it.

        Args:
            first_step: steps taken before, which place this stretch in the schedule.
            steps: how many to take.
            stop: asked before each step; True ends the stretch.
        """
        started = time.monotonic()
        # Of augmentation and dropout, and of which case of a patient is taken: it is in no hand outside either.
        random = np.random.default_rng(int.from_bytes(self._entropy(16)))
        torch.manual_seed(int(random.integers(2**31)))
        self.trainer.network.train()
        for step in range(first_step, first_step + steps):
            if stop():
                break
            for group in self._optimiser.param_groups:
                group["lr"] = self.trainer.learning_rate(step)
            self._optimiser.zero_grad(set_to_none=True)
            for patient in self.draw():
                case = self._patients[patient][random.integers(len(self._patients[patient]))]
                self._add(self.gradient(case, random))
            self._take_step()
        return time.monotonic() - started

    def draw(self) -> NDArray[np.intp]:
        """The patients of a step."""
        words = np.frombuffer(self._entropy(8 * len(self._patients)), dtype="<u8")
        # 53 bits are what a float64 between 0 and 1 holds.
        return np.flatnonzero((words >> 11) * 2.0**-53 < self.sampling_rate)

    def gradient(self, case: Prepared, random: np.random.Generator) -> list[torch.Tensor]:
        """The gradient of one case's loss, not clipped, by parameter."""
        [batch] = self.trainer.batches([case], random, int(random.integers(2**31)), 1)
        loss = self._loss(self.trainer.network(*batch.inputs), batch.target)
        return list(torch.autograd.grad(loss, self._optimiser.params, allow_unused=True, materialize_grads=True))

    def _add(self, gradient: Sequence[torch.Tensor]) -> None:
        """Add one patient's gradient, clipped, to the sum of the step."""
        norms = torch.stack([part.norm() for part in gradient])
        if not bool(torch.isfinite(norms).all()):
            # What cannot be clipped must not get in, and to fail would tell that this patient was drawn.
            return
        for parameter, part in zip(self._optimiser.params, gradient, strict=True):
            parameter.grad_sample = part[None]
        self._optimiser.signal_skip_step(True)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def _take_step(self) -> None:
        """Add the noise to the sum, which may be of nobody, and step."""
        for parameter in self._optimiser.params:
            parameter.grad_sample = parameter.new_empty((0, *parameter.shape))
        # Anew in every step: no output of the generator says anything of the next one.
        _reseed(self._noise, self._entropy)
        self._optimiser.signal_skip_step(False)
        self._optimiser.step()


def _reseed(generator: torch.Generator, entropy: Entropy) -> None:
    """Give a generator a state that nobody can guess."""
    generator.manual_seed(int.from_bytes(entropy(8)) >> 1)
    if generator.device.type == "cpu":
        # Of a seed torch's Mersenne Twister keeps 32 bits, which can all be tried: its 624 words are filled instead.
        state = generator.get_state()
        words = state.numpy()[: 8 * (_BEFORE_WORDS + _WORDS)].view("<u8")
        words[_BEFORE_WORDS:] = np.frombuffer(entropy(4 * _WORDS), "<u4")
        generator.set_state(state)


def _by_patient(samples: Sequence[Prepared], patients: Mapping[str, str]) -> list[list[Prepared]]:
    """The cases of each patient."""
    found: dict[str, list[Prepared]] = defaultdict(list)
    for sample in samples:
        found[patients[sample.case]].append(sample)
    return [found[patient] for patient in sorted(found)]
