"""Traffic for a listener: studies, senders that try until they succeed, a PACS that counts, and who kills."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt
from tests.unit.inference.threshold_model import threshold_task, write_threshold_model

from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.pacs.address import parse_address
from radfed.imaging.pacs.association import prompt
from radfed.imaging.pacs.listener import parse_listen
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.phantoms_dicom import Flavour, fake_patient, write_series
from radfed.imaging.volume import Volume
from radfed.inference.listener.service import Listener, Listening
from radfed.inference.listener.settings import ListenSettings
from radfed.inference.model import OnnxModel

CT = "1.2.840.10008.5.1.4.1.1.2"
AET = "RADFED"


def write_study(folder: Path, number: int, slices: int = 6) -> tuple[Path, ...]:
    """A tiny CT with a bright part, its own patient and study."""
    random = np.random.default_rng(number)
    array = random.integers(0, 20, size=(1, 18, 12, slices)).astype(np.int16)
    array[0, 3:9, 4:7, 1:-1] = 90
    volume = Volume(array, np.diag([1.0, 1.5, 2.0, 1.0]))
    return write_series(folder, volume, Flavour.CT, fake_patient(random), seed=number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Pacs:
    """Keeps what it is sent, in memory, by SOPInstanceUID, and in how many contents each came.

    Attributes:
        status: that it answers with; what is not 0 is not kept.
    """

    port: int
    contents: dict[str, set[bytes]] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    status: int = 0

    @property
    def address(self) -> str:
        return f"dimse://PACS@127.0.0.1:{self.port}"

    def by_study(self, modality: str) -> Counter[str]:
        return Counter(str(one.StudyInstanceUID) for one in list(self.objects.values()) if one.Modality == modality)


@contextmanager
def counting_pacs(port: int | None = None, status: int = 0) -> Iterator[Pacs]:
    pacs = Pacs(port or free_port(), status=status)

    def store(event: evt.Event) -> int:
        if pacs.status == 0:
            dataset = event.dataset
            uid = str(dataset.SOPInstanceUID)
            pacs.contents.setdefault(uid, set()).add(event.encoded_dataset(include_meta=False))
            pacs.objects[uid] = dataset
        return pacs.status

    entity = AE(ae_title="PACS")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(
        ("127.0.0.1", pacs.port), block=False, evt_handlers=[*prompt(), (evt.EVT_C_STORE, store)]
    )
    assert server is not None
    try:
        yield pacs
    finally:
        server.shutdown()


class Node:
    """``radfed predict --listen`` in a process of its own."""

    def __init__(self, model: Path, out: Path, port: int, *options: str) -> None:
        self.out, self.port = out, port
        self._command = [sys.executable, "-m", "radfed.cli.main", "predict", str(model), "--out", str(out), "--json"]
        self._command += ["--listen", f"{AET}@127.0.0.1:{port}", "--threads", "1", *options]
        self._log = out.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )

    def wait_until_it_answers(self) -> None:
        wait_for(lambda: echo(self.port), 60)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Ask it to end, and give its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    @property
    def told(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def count(self, state: str) -> int:
        folder = self.out / "queue" / state
        return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


@dataclass(frozen=True)
class Served:
    """A listener in this process, and its port."""

    listener: Listener
    port: int


@contextmanager
def served(folder: Path, pacs: int) -> Iterator[tuple[Served, list[dict[str, object]]]]:
    """A listener in this process that sends to a port of this machine, and what it told."""
    model = OnnxModel.load(write_threshold_model(folder / "model.onnx", threshold_task()), threads=1)
    told: list[dict[str, object]] = []
    port, stop = free_port(), threading.Event()
    how = Listening(
        parse_listen(f"{AET}@127.0.0.1:{port}"),
        ListenSettings(quiet=1),
        PacsSettings(timeout=5),
        parse_address(f"dimse://PACS@127.0.0.1:{pacs}"),
        ReadOptions(),
    )
    listener = Listener(model, folder / "out", how, told.append)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(listener.run, stop)
        try:
            wait_for(lambda: bool(told) or running.done(), 10)
            yield Served(listener, port), told
        finally:
            stop.set()
            running.result(timeout=90)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.1)


def echo(port: int, called: str = AET, calling: str = "SENDER") -> bool:
    """Whether C-ECHO is answered with success."""
    entity = AE(ae_title=calling)
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return "Status" in status and int(status.Status) == 0


def store(
    port: int, files: Sequence[Path], calling: str = "SENDER", classes: Sequence[str] = (CT,)
) -> list[int | None]:
    """C-STORE over one association; the status of each, None where no answer came."""
    entity = AE(ae_title=calling)
    for uid in classes:
        entity.add_requested_context(uid)
    association = entity.associate("127.0.0.1", port, ae_title=AET, evt_handlers=prompt())
    if not association.is_established:
        return [None] * len(files)
    codes: list[int | None] = []
    for path in files:
        status = association.send_c_store(dcmread(path)) if association.is_established else None
        codes.append(int(status.Status) if status is not None and "Status" in status else None)
    if association.is_established:
        association.release()
    return codes


def store_until_taken(port: int, files: Sequence[Path], calling: str) -> int:
    """What a modality does: send again what was not answered with success; how often it had to."""
    left, again = list(files), 0
    while left:
        codes = store(port, left, calling)
        left = [path for path, code in zip(left, codes, strict=True) if code != 0]
        if left:
            again += 1
            time.sleep(0.2)
    return again


def three_senders(port: int, studies: Sequence[Sequence[Path]], pause: float, stop: threading.Event) -> int:
    """Send all studies from three senders at once; how often they had to begin again."""

    def send(which: int) -> int:
        again = 0
        for files in studies[which::3]:
            if stop.is_set():
                break
            again += store_until_taken(port, files, f"SENDER{which}")
            time.sleep(pause)
        return again

    with ThreadPoolExecutor(3) as pool:
        return sum(pool.map(send, range(3)))
