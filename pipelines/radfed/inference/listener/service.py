"""The listener at work: studies come, are segmented one after another, and results are sent."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from radfed.errors import RadfedError
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.pacs.address import PacsAddress
from radfed.imaging.pacs.listener import StorageListener
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.send import send
from radfed.imaging.pacs.settings import PacsSettings
from radfed.inference.listener.intake import Intake
from radfed.inference.listener.queue import StudyQueue
from radfed.inference.listener.settings import ListenSettings
from radfed.inference.listener.study import Record, State, read_record
from radfed.inference.listener.work import Worker
from radfed.inference.model import OnnxModel
from radfed.inference.sending import NOT_SENT

QUEUE, RESULTS = "queue", "results"
DIED, INCOMPLETE = "died", "incomplete"
_TICK = 0.2
_SWEEP_SECONDS = 600.0
_LONGEST_WAIT = 60.0
_FILES_A_CASE = 2  # SEG and SR
Tell = Callable[[dict[str, object]], None]


@dataclass(frozen=True)
class Listening:
    """Where to listen, and how.

    Attributes:
        address: our AE title, host and port.
        settings: limits.
        pacs: TLS, times and room on disk.
        to: where SEG and SR go; None to keep them here alone.
        reading: what reading DICOM may do to voxels.
    """

    address: PacsAddress
    settings: ListenSettings
    pacs: PacsSettings
    to: PacsAddress | None
    reading: ReadOptions


class Listener:
    """Opens the queue and its worker; ``run`` listens.

    Args:
        model: of a segmentation task.
        out: gets ``queue`` and ``results``.
        how: where to listen, and how.
        tell: is told of each study that ended and of what was refused, without anything that names a patient.

    Raises:
        InvalidInputError: the model gives no masks.
        GateError: another listener uses the folder.
    """

    def __init__(self, model: OnnxModel, out: Path, how: Listening, tell: Tell) -> None:
        _ = model.segmentation  # refuses other tasks
        self._how, self._tell, self._out = how, tell, out
        self.queue = StudyQueue(out / QUEUE, how.settings.max_study_gb * 1e9)
        self._worker = Worker(model, out / RESULTS, how.reading)
        self._intake = Intake(self.queue, out, how.pacs.min_free_gb * 1e9, self._refused)
        self._ends: Counter[str] = Counter()
        self._rejected = 0
        self._counting = threading.Lock()
        self._failures = 0

    def run(self, stop: threading.Event) -> dict[str, object]:
        """Listen until told to stop; the study in hand is finished first.

        Returns:
            What was counted.

        Raises:
            InvalidInputError, GateError, PacsError: it cannot listen.
        """
        settings = self._how.settings
        network = StorageListener(
            self._how.address,
            self._how.pacs,
            settings.accept,
            settings.max_associations,
            settings.max_pdu,
            self._intake.store,
            self.queue.ended,
            self._reject,
        )
        try:
            with ThreadPoolExecutor(1) as pool:
                sender = pool.submit(self._send_all, stop)
                try:
                    self._tell({"listening": str(self._how.address), "queued": len(self.queue.studies(State.QUEUED))})
                    self._work_all(stop)
                finally:
                    stop.set()
                sender.result()
        finally:
            network.close()
            self.queue.close()
        return self.counts()

    def counts(self) -> dict[str, object]:
        """How many instances and studies since it began, by what became of them."""
        return {
            "instances": dict(sorted(self._intake.counts.items())),
            "studies": dict(sorted(self._ends.items())),
            "rejected_associations": self._rejected,
        }

    def _work_all(self, stop: threading.Event) -> None:
        swept = -math.inf
        while not stop.is_set():
            for study in self.queue.promote(self._how.settings.quiet):
                self._tell({"study": study, "state": "queued", "reason": "late_instances"})
            if time.monotonic() - swept > _SWEEP_SECONDS:
                self.queue.sweep(time.time() - 3600 * self._how.settings.keep_hours)
                swept = time.monotonic()
            taken = self.queue.take()
            if taken is None:
                stop.wait(_TICK)
            else:
                self._work(*taken)

    def _work(self, study: str, tries: int) -> None:
        missing = self.queue.missing(study)
        if missing:
            record = Record(reason=INCOMPLETE, message=f"{missing} instance(s) had no room; send the study again")
        elif tries > self._how.settings.tries:
            record = Record(reason=DIED, message=f"the program died {tries - 1} times while it worked on it")
        else:
            record = self._worker.segment(study, self.queue.path(study, State.WORKING))
        goes_on = record.reason is None and self._how.to is not None
        self._end(study, State.WORKING, State.SENDING if goes_on else None, record)

    def _end(self, study: str, state: State, to: State | None, record: Record) -> None:
        """Let a study go on; without a state it is over."""
        if to is None:
            to = State.DONE if record.reason is None else State.FAILED
            record = record.model_copy(update={"ended": time.time()})
        self.queue.end(study, state, to, record)
        if to is not State.SENDING:
            with self._counting:
                self._ends[record.reason or to] += 1
            told = record.model_dump(include={"reason", "results", "instances", "seconds", "sent"})
            self._tell({"study": study, "state": str(to), **told})

    def _send_all(self, stop: threading.Event) -> None:
        """In a thread of its own: a slow PACS must not keep the model waiting."""
        try:
            while self._how.to is not None and not stop.is_set():
                study = self.queue.take_to_send()
                if study is None:
                    stop.wait(_TICK)
                elif not self._send(study, self._how.to):
                    stop.wait(min(_LONGEST_WAIT, 2.0 ** min(self._failures, 6)))
        finally:
            if self._how.to is not None:
                stop.set()  # without a sender there is no use in going on; ``run`` says why

    def _send(self, study: str, to: PacsAddress) -> bool:
        """Send what a study gave; False if the PACS cannot be used now, and the study waits."""
        record = read_record(self.queue.path(study, State.SENDING))
        files = self._worker.files(record)
        if len(files) != _FILES_A_CASE * len(record.results):
            gone = {"reason": NOT_SENT, "message": "the results are no longer there", "sent": False}
            self._end(study, State.SENDING, None, record.model_copy(update=gone))
            return True
        try:
            refused = send(to, self._how.pacs, files, patience=Patience(0)).failed
        except RadfedError:
            self._failures += 1
            self.queue.keep(study)
            self._tell({"study": study, "state": str(State.SENDING), "reason": NOT_SENT})
            return False
        self._failures = 0
        if refused:
            codes = ", ".join(code for _, code in refused)
            record = record.model_copy(update={"reason": NOT_SENT, "message": f"the PACS refused: {codes}"})
        self._end(study, State.SENDING, None, record.model_copy(update={"sent": not refused}))
        return True

    def _refused(self, code: str, study: str) -> None:
        self._tell({"instance": "refused", "study": study or None, "reason": code})

    def _reject(self) -> None:
        with self._counting:
            self._rejected += 1
        self._tell({"association": "rejected"})
