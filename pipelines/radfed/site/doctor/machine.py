"""What the machine has: a GPU and its real free memory, memory, shared memory, disk. Sizes in bytes."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radfed.site.doctor.findings import Finding, failed, passed, warned
from radfed.site.doctor.measurement import Measurement

GIB, MIB = 1024**3, 1024**2
# Shared memory that data loaders of a few workers fill; Docker's default is 64 MiB.
_SHARED_LEAST = GIB
# A dataset's cache and some checkpoints.
_DISK_LEAST, _DISK_FEW = 2 * GIB, 20 * GIB
# Between the measurement and the training a GPU's or a machine's free memory moves a little.
_HEADROOM = 1.1


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver reports it. Sizes in bytes."""

    name: str
    total: int
    free: int


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that ``nvidia-smi`` lists; none where it is missing or finds none."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_gpus(done.stdout) if done.returncode == 0 else ()


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """GPUs from lines of name, total and free memory (MiB)."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            found.append(Gpu(parts[0], int(parts[1]) * MIB, int(parts[2]) * MIB))
    return tuple(found)


def check_gpu(
    wanted: Literal["auto", "cpu", "cuda"],
    gpus: tuple[Gpu, ...],
    measured: Measurement | None,
    processes: int = 1,
) -> Finding:
    """Whether there is a GPU, and whether the job fits into what is really free of it.

    Args:
        wanted: ``device`` of ``site.yaml``.
        gpus: what the driver reports.
        measured: the job as it ran here.
        processes: ``training_processes`` of ``site.yaml``.
    """
    if wanted == "cpu":
        return passed("gpu", "site.yaml chooses the CPU")
    if not gpus:
        fix = "check nvidia-smi and the driver; in a container, give it the GPU again"
        if wanted == "cuda":
            return failed("gpu", "site.yaml chooses CUDA, but no GPU is found", fix)
        return warned("gpu", f"no GPU is found; jobs run on {len(os.sched_getaffinity(0))} CPU core(s)", fix)
    if len(gpus) < processes:
        return failed(
            "gpu",
            f"{len(gpus)} GPU(s) are found, but site.yaml trains with {processes} processes, each on one of its own",
            f"set training_processes in site.yaml to {len(gpus)}",
        )
    # FLARE and torch take the first one that they see.
    gpu = gpus[0]
    said = f"{gpu.name}: {gpu.total // MIB} MiB, {gpu.free // MIB} MiB free"
    if measured is None:
        return passed("gpu", said)
    if not measured.device.startswith("cuda"):
        return failed("gpu", f"{said}, but torch does not use it", "install a torch for this driver's CUDA")
    needs = int(measured.peak_memory_bytes * _HEADROOM)
    free = measured.gpu_memory_bytes if measured.gpu_memory_bytes is not None else gpu.free
    if needs > free:
        fix = "end what else uses the GPU, or ask for a smaller patch or batch"
        return failed("gpu", f"{said}; the job needs {needs // MIB} MiB", fix)
    return passed("gpu", f"{said}; the job needs {needs // MIB} MiB")


def check_promised_gpus(kit: Path, gpus: tuple[Gpu, ...]) -> Finding | None:
    """Whether the kit promises FLARE more GPU memory than there is; its client then ends as it starts.

    A card sold with 16 GB has less than the 16 GiB that FLARE compares with.
    """
    for manager in _components(kit, "GPUResourceManager"):
        count, each = manager.get("num_of_gpus", 0), manager.get("mem_per_gpu_in_GiB", 0)
        if manager.get("ignore_host") or not isinstance(count, int) or not isinstance(each, int | float) or count == 0:
            continue
        fit = sum(gpu.total >= each * GIB for gpu in gpus)
        if fit < count:
            largest = max((gpu.total // MIB for gpu in gpus), default=0)
            return failed(
                "gpu-promise",
                f"resources.json promises {count} GPU(s) of {each * 1024:.0f} MiB; {fit} here have that "
                f"(the largest has {largest} MiB)",
                "set mem_per_gpu_in_GiB and num_of_gpus in the kit's local/resources.json to what is there",
            )
        return passed("gpu-promise", f"resources.json promises {count} GPU(s) of {each} GiB, and they are there")
    return None


def check_memory(measured: Measurement, available: int | None = None) -> Finding:
    """Whether the machine's memory is enough for the job on the CPU.

    Args:
        measured: the job as it ran here.
        available: free memory (bytes); asked of Linux if it is not given.
    """
    free = _available() if available is None else available
    needs = int(measured.peak_memory_bytes * _HEADROOM)
    said = f"the job needs {needs // MIB} MiB of memory, {free // MIB} MiB are free"
    return passed("memory", said) if needs <= free else failed("memory", said, "end other programs, or add memory")


def check_batch(largest: int | None, wanted: int) -> Finding | None:
    """How many cases in a step the memory holds, beside how many the job takes.

    Args:
        largest: cases, as measured; None: it was not looked for.
        wanted: ``batch_size`` of the job.
    """
    if largest is None:
        return None
    said = f"the memory holds steps of {largest} case(s), the job takes {wanted}"
    return passed("batch", said) if wanted <= largest else failed("batch", said, f"ask for batch_size: {largest}")


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Whether data loaders find enough shared memory."""
    if not folder.is_dir():
        return warned("shared-memory", f"{folder} is not there", "data loaders of torch may fail; mount it as tmpfs")
    usage = shutil.disk_usage(folder)
    said = f"{usage.total // MIB} MiB, {usage.free // MIB} MiB free"
    if usage.free < _SHARED_LEAST:
        return warned("shared-memory", said, "free some, or give a container more: docker run --shm-size=2g")
    return passed("shared-memory", said)


def check_disk(check: str, folder: Path) -> Finding:
    """Whether there is room where something lies."""
    free = shutil.disk_usage(folder).free
    said, fix = f"{free / GIB:.1f} GiB free", "make room; caches, checkpoints and logs are kept there"
    if free < _DISK_LEAST:
        return failed(check, said, fix)
    return warned(check, said, fix) if free < _DISK_FEW else passed(check, said)


def _available() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _components(kit: Path, class_name: str) -> Iterable[dict[str, object]]:
    """Arguments of the kit's components of one class."""
    for name in ("resources.json", "resources.json.default"):
        file = kit / "local" / name
        if file.is_file():
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                return  # check_policies says so
            for component in content.get("components", []):
                if str(component.get("path", "")).endswith(f".{class_name}"):
                    yield component.get("args", {})
            return
