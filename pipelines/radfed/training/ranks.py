"""Several processes of a site that train one network together, a GPU each: shares of a batch, and sums of gradients.

Each process takes its share of a step's cases through the network. The logits of all are put together again, so that
each computes the loss of the whole batch, whatever that loss makes of the cases together (Dice over the batch, Cox's
risk sets, weighted classes). The gradients of the shares then add up to the gradient of that loss.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist

from radfed.errors import InvalidInputError, TrainingError
from radfed.training.device import choose_device

# Between two rounds the others wait for as long as the federation does. A process that dies is no matter of time:
# torch's launcher ends the others.
_PATIENCE = timedelta(days=365)
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0. The first one answers requests, validates and writes files.
        size: how many there are. All of a single process's methods do nothing.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first one."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.size == 1

    def choose_device(self, wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
        """The GPU of this process, or the CPU.

        Raises:
            InvalidInputError: CUDA was asked for by name and is not there, or has fewer devices than processes.
        """
        device = choose_device(wanted)
        if self.alone or device.type == "cpu":
            return device
        if torch.cuda.device_count() < self.size:
            raise InvalidInputError(
                f"training_processes: got {self.size}, but this machine has {torch.cuda.device_count()} CUDA "
                "device(s), and each process takes one; set it to at most that"
            )
        torch.cuda.set_device(self.rank)
        return torch.device("cuda", self.rank)

    def fit(self, network: torch.nn.Module) -> None:
        """Have batch normalisation see the whole batch; its parameters stay the same objects.

        Raises:
            InvalidInputError: the network has batch normalisation and lies on the CPU, where torch cannot do that.
        """
        norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        if self.alone or not norms:
            return
        if any(value.device.type == "cpu" for value in network.parameters()):
            raise InvalidInputError(
                f"training_processes: got {self.size}, but this network has batch normalisation, which torch keeps "
                "right over several processes on CUDA only; set training_processes: 1, or use instance normalisation"
            )
        torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]

    def share(self, total: int) -> slice:
        """Which of so many cases of a step, drawn alike by all, are this process's.

        Raises:
            TrainingError: there are fewer cases than processes.
        """
        if total < self.size:
            raise TrainingError(
                f"training_processes: got {self.size}, but a step has {total} case(s); set it to at most that"
            )
        sizes = self._sizes(total)
        first = sum(sizes[: self.rank])
        return slice(first, first + sizes[self.rank])

    def gathered(self, rows: torch.Tensor, total: int) -> torch.Tensor:
        """Rows of all shares in the order of the batch. Gradients flow into those of this process only.

        Args:
            rows: ``(share, ...)``.
            total: cases in the whole batch.
        """
        if self.alone:
            return rows
        sizes = self._sizes(total)
        # Shares differ by one case at most; what is sent has one size.
        sent = rows.new_zeros((max(sizes), *rows.shape[1:]))
        sent[: len(rows)] = rows.detach()
        parts = [torch.empty_like(sent) for _ in sizes]
        with _together():
            dist.all_gather(parts, sent)
        others = [part[:size] for part, size in zip(parts, sizes, strict=True)]
        return torch.cat([*others[: self.rank], rows, *others[self.rank + 1 :]])

    def add_up(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient with the sum over all processes."""
        if self.alone:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # One message instead of one a tensor.
        total = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _together():
            dist.all_reduce(total)
        for gradient, part in zip(gradients, torch.split(total, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def agreed(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """The same answer in all processes: whether any of them was told to stop."""
        if self.alone:
            return stop

        def asked() -> bool:
            wanted = torch.tensor(int(stop()))
            with _together():
                dist.all_reduce(wanted, dist.ReduceOp.MAX)
            return bool(wanted)

        return asked

    def tell(self, request: dict[str, Any]) -> None:
        """From the first process to the others, which wait in ``told``."""
        if self.leads and not self.alone:
            with _together():
                dist.broadcast_object_list([request], src=0, device=_CPU)

    def told(self) -> dict[str, Any]:
        """What the first process tells."""
        received: list[dict[str, Any]] = [{}]
        with _together():
            dist.broadcast_object_list(received, src=0, device=_CPU)
        return received[0]

    def _sizes(self, total: int) -> list[int]:
        """Cases in each share."""
        return [total // self.size + (rank < total % self.size) for rank in range(self.size)]


ALONE = Ranks()


def join_ranks() -> Ranks:
    """Meet the other processes that torch's launcher started with this one."""
    # Small messages go over the CPU: who waits for one must not keep a GPU busy.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    return Ranks(dist.get_rank(), dist.get_world_size())


@contextmanager
def _together() -> Iterator[None]:
    """What all do at once: if it fails another process has ended, and this one must not answer as if it could go on."""
    try:
        yield
    except RuntimeError as error:
        print(f"another training process has ended: {error}", file=sys.stderr, flush=True)
        os._exit(1)
