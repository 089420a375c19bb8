"""The machine's cores, and each process's share of them."""

import os


def share_of_cores(processes: int) -> int:
    """Threads for each of so many processes that compute at the same time, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, processes))


def thread_environment(processes: int) -> dict[str, str]:
    """Environment of such a process, for the libraries that read it when they are loaded."""
    return {
        "OMP_NUM_THREADS": str(share_of_cores(processes)),
        # A thread that waits must not burn the core that another process computes on.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
