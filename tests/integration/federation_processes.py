"""The processes of a loopback federation, told apart by what they run, and killed without a word."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")


class Role(StrEnum):
    """What a process of a federation does; the value is what its command line shows."""

    TRAINER = "radfed.training.process"
    CLIENT_JOB = "nvflare.private.fed.app.client.worker_process"
    CLIENT_PARENT = "nvflare.private.fed.app.client.client_train"
    SERVER_JOB = "nvflare.private.fed.app.server.runner_process"
    SERVER_PARENT = "nvflare.private.fed.app.server.server_train"
    LOOP = "startup/sub_start.sh"


_TAG = "TMPDIR"
"""Every participant has a temporary folder of its own below the federation's; its children inherit the variable."""


@dataclass(frozen=True)
class Found:
    """A process of the federation: who runs it, and what it does."""

    process: psutil.Process
    participant: str
    role: Role | None


def find(temporary: Path) -> list[Found]:
    """All living processes whose ``TMPDIR`` lies directly below a folder.

    Args:
        temporary: the folder; its children are named for the participants.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            tag = Path(process.environ().get(_TAG, "/"))
            if tag.parent == temporary:
                found.append(Found(process, tag.name, _role(process.cmdline())))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _role(command: list[str]) -> Role | None:
    for part in command:
        for role in Role:
            if part == role.value or (role is Role.LOOP and part.endswith(role.value)):
                return role
    return None


def kill(process: psutil.Process) -> float:
    """``kill -9`` one process, not its children, and wait until it is gone.

    Returns:
        When it was killed (s since the epoch).

    Raises:
        psutil.NoSuchProcess: it had already ended, so nothing was killed.
        TimeoutError: it still runs after 10 s.
    """
    # psutil refuses to signal a number that another process has taken over.
    process.send_signal(signal.SIGKILL)
    at = time.time()
    wait_for(lambda: _has_ended(process), 10, f"end of process {process.pid}")
    return at


def _has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more; its parent may let it lie as a zombie for long."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def end_all(temporary: Path, participants: frozenset[str] | None = None) -> None:
    """Kill every process of the federation, or of some participants; loops first, as they start others again.

    Raises:
        RuntimeError: a process outlives 20 s of it.
    """
    for _ in range(40):
        members = [m for m in find(temporary) if participants is None or m.participant in participants]
        if not members:
            return
        for member in sorted(members, key=lambda m: m.role is not Role.LOOP):
            try:
                member.process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs([member.process for member in members], timeout=0.5)
    raise RuntimeError(f"processes of the federation at {temporary} cannot be ended: {find(temporary)}")


def wait_for(look: Callable[[], T | None], seconds: float, what: str, every: float = 0.1) -> T:
    """Look again and again until there is something to see.

    Raises:
        TimeoutError: there was nothing in time; the message says what was waited for.
    """
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds:g} s")
        time.sleep(every)


def lines_of(path: Path) -> list[str]:
    """The lines of a log, none where there is no file yet."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
