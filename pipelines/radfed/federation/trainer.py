"""The executor's hold on its trainer process: starts it, asks it, notices when it dies."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import psutil

from radfed.cores import thread_environment
from radfed.errors import TrainingError
from radfed.training.process import TOGETHER, Request

# Fixed: no job can change a word of it.
_MODULE = ("-m", "radfed.training.process")
_LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--log-dir", os.devnull)
# What the processes of one trainer send each other stays on this machine.
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
_LOOK = 0.1
_STOP_TIME = 30.0


class TrainerDiedError(TrainingError):
    """The trainer's process ended without an answer."""

    reason = "trainer_died"


class TrainerRefusedError(TrainingError):
    """The trainer could not do what was asked. ``reason`` is its code; the text is for the site's own log."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class TrainerProcess:
    """A trainer that lives until ``end``, or until this process ends, however it ends.

    Args:
        log: file for what the trainer and its libraries print.
        threads: CPU threads that it may use; None takes all.
        processes: how many train together, under torch's launcher; if one of them dies, so do all.
    """

    def __init__(self, log: Path, threads: int | None, processes: int = 1) -> None:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        command: tuple[str, ...] = (sys.executable, *_MODULE)
        if processes > 1:
            command = (sys.executable, *_LAUNCHER, f"--nproc-per-node={processes}", *_MODULE, TOGETHER)
            environment |= thread_environment(processes) | _LOOPBACK
        if threads is not None:
            environment |= thread_environment(1) | {"OMP_NUM_THREADS": str(max(1, threads // processes))}
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, env=environment, text=True
            )
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(self, request: Request, stop: Callable[[], bool]) -> Mapping[str, object]:
        """Ask for work and wait for the answer.

        Args:
            request: what to do.
            stop: looked at while waiting; True tells the trainer to stop, and it answers that it did.

        Raises:
            TrainerDiedError: the process ended, or did not stop when told to.
            TrainerRefusedError: it could not do the work.
        """
        self._send(request)
        told_at: float | None = None
        while True:
            try:
                text = self._answers.get(timeout=_LOOK)
            except Empty:
                if told_at is None and stop():
                    told_at = time.monotonic()
                    self._send(Request(do="stop"))
                elif told_at is not None and time.monotonic() - told_at > _STOP_TIME:
                    self.end()
                continue
            if text is None:
                raise TrainerDiedError(f"the trainer ended with code {self._process.wait()}")
            answer = json.loads(text)
            if "error" in answer:
                raise TrainerRefusedError(answer["error"], answer["text"])
            content: Mapping[str, object] = answer["ok"]
            return content

    def end(self) -> None:
        """End the process, and those that it has started."""
        started: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            started = psutil.Process(self._process.pid).children(recursive=True) if self.alive else []
        self._process.kill()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        assert self._process.stdin is not None  # opened above
        with suppress(OSError):
            # What was not sent any more is of no use; closing would try to send it.
            self._process.stdin.close()
        self._listener.join()

    def _send(self, request: Request) -> None:
        assert self._process.stdin is not None  # opened above
        try:
            self._process.stdin.write(request.model_dump_json() + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise TrainerDiedError(f"the trainer ended with code {self._process.wait()}") from error

    def _listen(self) -> None:
        assert self._process.stdout is not None  # opened above
        with self._process.stdout as answers:
            for text in answers:
                self._answers.put(text)
        self._answers.put(None)
