"""What training is for every kind of task: the loop, the optimiser and its state, mixed precision, the weights.

What a kind adds is in a class of its own (``segmentation.py``, ``outcome.py``); docs/how-to/new-task.md says how.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from radfed.errors import TrainingError
from radfed.job import TrainingSettings
from radfed.task import TaskSpec
from radfed.training.device import be_deterministic, bears_channels_last
from radfed.training.networks import build_network
from radfed.training.prefetch import prefetched
from radfed.training.ranks import ALONE, Ranks
from radfed.training.samples import Prepared
from radfed.weights import Weights

# The exponent of the polynomial decay, as in nnU-Net.
_DECAY = 0.9
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}

S = TypeVar("S", bound=Prepared)


@dataclass(frozen=True)
class Trained:
    """What a stretch of training did: mean loss, and seconds on the clock."""

    loss: float
    seconds: float


@dataclass(frozen=True)
class Validated:
    """What the current weights are worth.

    Attributes:
        metric: from 0 to 1, more is better: mean Dice, 1 less the mean Brier score, or the concordance.
        cases: how many values the metric is the mean of; of the concordance, pairs of cases.
        seconds: on the clock.
    """

    metric: float
    cases: int
    seconds: float


@dataclass(frozen=True)
class Batch:
    """What a step takes, on the trainer's device: of several processes, each has its share.

    Attributes:
        inputs: of the network, in the order of its arguments.
        target: of the loss.
        cases: pseudonyms of the whole batch, the shares of other processes included.
    """

    inputs: tuple[torch.Tensor, ...]
    target: torch.Tensor
    cases: tuple[str, ...]


class Trainer(ABC, Generic[S]):
    """Trains and validates a task's network on prepared samples of the type ``S``.

    The optimiser lives as long as the trainer: moments are kept from round to round, the weights are replaced.

    Args:
        task: the contract.
        settings: how to train.
        name: of the site, or of the baseline; part of the random stream.
        total_steps: optimiser steps over the whole training; the learning rate decays towards it.
        device: where to compute.
        loss: a number for logits and targets.
    """

    def __init__(
        self,
        task: TaskSpec,
        settings: TrainingSettings,
        name: str,
        total_steps: int,
        device: torch.device,
        loss: torch.nn.Module,
    ) -> None:
        be_deterministic()
        self.ranks = ALONE
        self.settings, self.name, self.total_steps, self.device = settings, name, total_steps, device
        self.network = build_network(task, settings.seed).to(device)
        self._channels_last = device.type == "cpu" and bears_channels_last(self.network)
        for parameter in self.network.parameters():
            parameter.data = self.laid_out(parameter.data)
        self.loss = loss.to(device)
        # The same numbers as tensor by tensor, and quicker on the CPU too.
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
        )
        self.amp = settings.amp and device.type == "cuda"
        self.amp_type = torch.bfloat16 if self.amp and torch.cuda.is_bf16_supported() else torch.float16
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp and self.amp_type is torch.float16)

    def join(self, ranks: Ranks) -> None:
        """Train together with other processes from now on.

        Raises:
            InvalidInputError: this network cannot be trained so.
        """
        ranks.fit(self.network)
        self.ranks = ranks

    @abstractmethod
    def batches(self, samples: Sequence[S], order: np.random.Generator, changes: int, steps: int) -> Iterator[Batch]:
        """The batches of a stretch of training: cases drawn, changed at random, on the device.

        Args:
            samples: prepared training cases, at least one.
            order: draws the cases, alike in all processes; ``self.ranks.share`` says which of them are this one's.
            changes: seed of their random changes. Torch's own generator is the network's, for dropout.
            steps: how many batches.
        """

    @abstractmethod
    def validate(self, samples: Sequence[S]) -> Validated | None:
        """Score the current weights on prepared cases; None when there is nothing to score."""

    @abstractmethod
    def test(self, samples: Sequence[S]) -> dict[str, NDArray[np.float64]]:
        """Values from 0 to 1, one a case, for each of the names in ``task.measured``; all of one length."""

    @abstractmethod
    def made_up(self, random: np.random.Generator) -> S:
        """A case of random numbers, to measure with where there are no data."""

    def laid_out(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(B, C, ...)`` in the memory format of the network's weights.

        Channels last on the CPU, where the network bears it: measured on two cores, 7 to 14 % faster steps of a 3D
        UNet, 20 % of a 2D DenseNet.
        """
        wanted = _CHANNELS_LAST.get(images.dim()) if self._channels_last else None
        return images if wanted is None else images.to(memory_format=wanted)

    def load(self, weights: Weights) -> None:
        """Replace the weights. Raises ``RuntimeError`` when names or shapes differ."""
        tensors = {name: torch.from_numpy(np.require(array, requirements="W")) for name, array in weights.items()}
        self.network.load_state_dict(tensors)

    def weights(self) -> dict[str, NDArray[Any]]:
        """A copy of the weights."""
        return {name: np.array(t.detach().cpu().numpy(), order="C") for name, t in self.network.state_dict().items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """The optimiser's moments and the loss scaler's scale, as arrays by name."""
        moments = {
            f"{index}.{name}": torch.as_tensor(value).cpu().numpy()
            for index, values in self.optimiser.state_dict()["state"].items()
            for name, value in values.items()
        }
        return moments | {f"scaler.{name}": np.asarray(value) for name, value in self.scaler.state_dict().items()}

    def load_state(self, state: Weights) -> None:
        """Go on from what ``state`` gave.

        Raises:
            ValueError: it belongs to another network.
        """
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, array in state.items():
            owner, name = key.split(".", 1)
            if owner != "scaler":
                moments.setdefault(int(owner), {})[name] = torch.from_numpy(np.array(array))
        for index, parameter in enumerate(self.network.parameters()):
            for name, moment in moments.get(index, {}).items():
                if name != "step" and moment.shape != parameter.shape:
                    raise ValueError(f"moment {name} of parameter {index} has shape {tuple(moment.shape)}")
        content = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**content, "state": moments})
        scale = {name: state[f"scaler.{name}"].item() for name in self.scaler.state_dict() if f"scaler.{name}" in state}
        if scale:
            self.scaler.load_state_dict(scale)

    def forget(self) -> None:
        """Begin with an optimiser that has seen nothing."""
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": {}})

    def train(
        self, samples: Sequence[S], first_step: int, steps: int, stop: Callable[[], bool] = lambda: False
    ) -> Trained:
        """Take optimiser steps.

        Args:
            samples: prepared training cases.
            first_step: steps taken before, which place this stretch in the schedule and in the random stream.
            steps: how many to take.
            stop: asked before each step; True ends the stretch.

        Raises:
            TrainingError: there is no case, or the loss is not a number.
        """
        if not samples:
            raise TrainingError(f"{self.name}: there is no training case; ingest more or change the split")
        started = time.monotonic()
        order = np.random.default_rng(self._stream(first_step))
        changes, dropout = int(order.integers(2**31)), int(order.integers(2**31))
        # Cases are drawn alike everywhere; what happens to them by chance must not be alike in two shares.
        changes, dropout = changes + self.ranks.rank, dropout + self.ranks.rank
        torch.manual_seed(dropout)
        self.network.train()
        losses: list[float] = []
        # A loss is read one step late: reading it waits for the device, which has the next step to do meanwhile.
        unread: tuple[torch.Tensor, int, Batch] | None = None
        with prefetched(self.batches(samples, order, changes, steps), self.device) as batches:
            for step in range(first_step, first_step + steps):
                if stop():
                    break
                batch = next(batches)
                loss = self._step(batch, step)
                if unread is not None:
                    losses.append(self._read(*unread))
                unread = loss, step, batch
        if unread is not None:
            losses.append(self._read(*unread))
        return Trained(float(np.mean(losses)) if losses else float("nan"), time.monotonic() - started)

    def _step(self, batch: Batch, step: int) -> torch.Tensor:
        """One optimiser step; gives the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=self.amp_type, enabled=self.amp):
            logits = self.network(*batch.inputs)
        logits, target = (self.ranks.gathered(rows, len(batch.cases)) for rows in (logits.float(), batch.target))
        loss: torch.Tensor = self.loss(logits, target)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.ranks.add_up(self.network.parameters())
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return loss.detach()

    def _read(self, loss: torch.Tensor, step: int, batch: Batch) -> float:
        value = float(loss)
        if not np.isfinite(value):
            raise TrainingError(
                f"{self.name}: the loss is {value} at step {step}, in a batch of {', '.join(batch.cases)}; "
                "check these cases, or lower learning_rate"
            )
        return value

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0 over the whole training."""
        warm = min(1.0, (step + 1) / max(1, self.settings.warmup_steps))
        return self.settings.learning_rate * warm * float(max(0.0, 1 - step / self.total_steps) ** _DECAY)

    def _stream(self, first_step: int) -> int:
        """The seed of a stretch: it depends on what is trained and when, not on what ran before in this process."""
        text = f"{self.settings.seed}/{self.name}/{first_step}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
