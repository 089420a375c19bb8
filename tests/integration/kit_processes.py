"""Kits as FLARE provisions them, and the processes that run them: one a kit, no loop that starts it again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

ADMIN, LEAD = "admin@radfed.test", "engineer@radfed.test"
_PATIENCE = 45.0


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody on this machine accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program of this Python's environment; its output, or an error that shows it."""
    program = Path(sys.executable).parent / str(command[0])
    done = subprocess.run(
        [str(program), *map(str, command[1:])], capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def wait_until(look: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    """Look again and again until it is so."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)


@dataclass
class Participants:
    """The running kits of a test; each in a process group of its own, all ended with the test."""

    scratch: Path
    running: dict[Path, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, kit: Path) -> None:
        """Run what the kit's ``start.sh`` would run, once."""
        is_server = (kit / "startup" / "fed_server.json").is_file()
        side = "server" if is_server else "client"
        identity = [] if is_server else [f"uid={kit.name}"]
        command = [sys.executable, "-u", "-m", f"nvflare.private.fed.app.{side}.{side}_train", "-m", str(kit)]
        command += [
            "-s",
            f"fed_{side}.json",
            "--set",
            "secure_train=true",
            *identity,
            "org=radfed",
            "config_folder=config",
        ]
        self.scratch.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"TMPDIR": str(self.scratch), "OMP_NUM_THREADS": "1"}
        with (kit / "console.txt").open("ab") as log:
            # Away from the kit: no path may hang from where a process happens to be started.
            self.running[kit] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )

    def stop(self, kit: Path) -> None:
        """Kill a kit's process and all its children."""
        process = self.running.pop(kit)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)

    def stop_all(self) -> None:
        """Kill everything that was started here."""
        for kit in list(self.running):
            self.stop(kit)


def console(kit: Path) -> str:
    """What a kit's process has printed."""
    return (kit / "console.txt").read_text(encoding="utf-8", errors="replace")


@contextmanager
def session(kits: Path, user: str = ADMIN) -> Iterator[Session]:
    """FLARE's admin console."""
    opened = new_secure_session(user, str(kits / user), timeout=40)
    try:
        yield opened
    finally:
        opened.close()


def present(kits: Path, user: str = ADMIN) -> set[str]:
    """The sites that are registered."""
    with session(kits, user) as console_session:
        return {client.name for client in console_session.get_system_info().client_info}
