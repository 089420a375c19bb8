"""Where a process computes, and with how many of the machine's cores."""

import os
from typing import Literal

import torch

from radfed.errors import InvalidInputError

_ONEDNN_BLOCK = 16


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


def bears_channels_last(network: torch.nn.Module) -> bool:
    """Whether oneDNN trains this network in that memory format without harm.

    Strided convolutions of one point with fewer input channels than a block of its kernels (16 at most) write past a
    buffer in the backward pass, and crash or give wrong gradients: https://github.com/uxlfoundation/oneDNN/issues/6035,
    seen with torch 2.13.
    """
    return not any(
        isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d)
        and set(layer.kernel_size) == {1}
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < _ONEDNN_BLOCK
        for layer in network.modules()
    )


def be_deterministic() -> None:
    """The same input gives the same output, or torch raises."""
    # cuBLAS reads this at its first call; without it torch refuses deterministic matrix products on CUDA.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Warn only: some 3D CUDA kernels (trilinear upsampling, backward) have no deterministic form in torch.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    # Else every new tensor is first filled with NaN, which takes 5 to 8 % of a step; no operation here reads what it
    # has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # missing in its stubs
