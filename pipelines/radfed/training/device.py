"""Where a process computes, and with how many of the machine's cores."""

import os
from typing import Literal

import torch

from radfed.errors import InvalidInputError


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """CUDA where it is wanted and there, else the CPU.

    Raises:
        InvalidInputError: CUDA was asked for by name and is not there.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError("device: got cuda, but this machine has no usable CUDA device; use auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def claim_threads(threads: int) -> None:
    """Keep this process to its share of cores.

    Torch processes that each start a thread per core slow each other 10 to 30 times.
    """
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        try:
            torch.set_num_interop_threads(1)
        except RuntimeError:
            # Only allowed before the first parallel work; then the pool is idle and does no harm.
            return


def be_deterministic() -> None:
    """The same input gives the same output, or torch raises."""
    # cuBLAS reads this at its first call; without it torch refuses deterministic matrix products on CUDA.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Warn only: some 3D CUDA kernels (trilinear upsampling, backward) have no deterministic form in torch.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
