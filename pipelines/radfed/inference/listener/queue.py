"""Studies on disk, from the first image that comes to the result that was sent. Killed at any point, none is lost.

A study is a folder. It is in one state because it lies in that state's folder, and goes on by one rename. New images
always go into ``incoming``; a study that is elsewhere already is put together again when it has been quiet, and is then
done again as a whole.
"""

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from radfed.errors import GateError
from radfed.files import hold, move, put_text, sync, write_new
from radfed.inference.listener.study import RECORD, REFUSED, SUFFIX, TRIES, Known, Name, Record, State, read_record

KEPT, DUPLICATE, OTHER_BYTES, CLOSED, TOO_LARGE = "kept", "duplicate", "other_bytes", "study_closed", "study_too_large"
_LONGEST_OPEN = 6.0
"""How many times ``quiet`` an association that stays open keeps its studies from being complete."""


class StudyQueue:
    """The queue's folder. One process at a time uses it; its calls may come from many threads.

    Args:
        folder: made with mode 0700 if it is not there.
        most: size of a study (bytes).
        clock: seconds that only grow.

    Raises:
        GateError: another process uses the folder.
    """

    def __init__(self, folder: Path, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._most, self._clock = folder, most, clock
        self._lock = threading.RLock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        taken = GateError(f"{folder}: another listener uses this folder; end it, or give another --out")
        self._guard = hold(folder / "lock", taken)
        self._parts, self._quarantine = folder / "parts", folder / "quarantine"
        shutil.rmtree(self._parts, ignore_errors=True)  # of a process that was killed
        for place in (self._parts, self._quarantine, *(folder / state for state in State)):
            place.mkdir(mode=0o700, exist_ok=True)
        for path in (folder / State.WORKING).iterdir():
            self._again(path)
        self._leaving: set[str] = set()
        self._known: dict[str, Known] = {}
        for state in State:
            for path in (folder / state).iterdir():
                study = self._known.setdefault(path.name, Known(last=clock()))
                study.learn(path)
                study.closed = study.closed or read_record(path).closed
        sync(folder)

    def close(self) -> None:
        """Let another process use the folder."""
        self._guard.close()

    def path(self, study: str, state: State) -> Path:
        """Where a study lies in a state."""
        return self._folder / state / study

    def studies(self, state: State) -> list[str]:
        """Studies in a state, those that came there first in front."""
        return [path.name for path in sorted((self._folder / state).iterdir(), key=lambda path: path.stat().st_mtime)]

    def put(self, study: str, name: Name, header: bytes, content: bytes, association: int = 0) -> str:
        """Keep an instance; on the disk when this returns ``kept``.

        Returns:
            ``kept``, ``duplicate`` (it is there already), ``other_bytes`` (another one of that UID is there; this one
            lies in quarantine), ``study_closed`` or ``study_too_large`` (both: not kept).

        Raises:
            OSError: the disk did not take it.
        """
        size = len(header) + len(content)
        verdict = self._verdict(study, name, size, association)
        if verdict not in (KEPT, OTHER_BYTES):
            return verdict
        part = self._parts / uuid.uuid4().hex
        try:
            write_new(part, header, content)
            with self._lock:
                verdict = self._verdict(study, name, size, association)  # another thread may have been faster
                if verdict == KEPT:
                    self._keep(part, study, name, size)
                elif verdict == OTHER_BYTES:
                    self._set_aside(part, study, name)
        finally:
            part.unlink(missing_ok=True)
        return verdict

    def miss(self, study: str, instance: str) -> None:
        """Remember that an instance did not get in: without it the study is not complete."""
        with self._lock:
            known = self._known.setdefault(study, Known())
            known.last = self._clock()
            if known.closed or instance in known.contents:
                return  # nothing of it is missing
            known.refused.add(instance)
            with suppress(OSError):  # on a full disk; it is in memory as well, and the sender knows
                folder = self.path(study, State.INCOMING)
                folder.mkdir(mode=0o700, exist_ok=True)
                (folder / f"{instance}{REFUSED}").touch()

    def ended(self, association: int) -> None:
        """Who sent over it will send no more over it."""
        with self._lock:
            for known in self._known.values():
                known.associations.discard(association)

    def promote(self, quiet: float) -> list[str]:
        """Queue the studies of which nothing came for ``quiet`` seconds.

        Returns:
            Those that had been queued, done or failed before, and are put together again.
        """
        again = []
        with self._lock:
            for study in self.studies(State.INCOMING):
                known = self._known[study]
                silent = self._clock() - known.last
                waits = silent < quiet * (_LONGEST_OPEN if known.associations else 1.0)
                if waits or study in self._leaving or self.path(study, State.WORKING).exists():
                    continue
                if self._gather(study):
                    again.append(study)
                move(self.path(study, State.INCOMING), self.path(study, State.QUEUED))
        return again

    def take(self) -> tuple[str, int] | None:
        """Begin with the study that waits longest: which, and for which time since it was queued."""
        with self._lock:
            study = next(iter(self.studies(State.QUEUED)), None)
            if study is None:
                return None
            folder = self.path(study, State.QUEUED)
            written = folder / TRIES
            tries = 1 + (int(written.read_text(encoding="ascii")) if written.exists() else 0)
            put_text(written, str(tries), durable=True)
            move(folder, self.path(study, State.WORKING))
            return study, tries

    def take_to_send(self) -> str | None:
        """Begin to send the study that waits longest; over with ``end`` or ``keep``."""
        with self._lock:
            study = next(iter(self.studies(State.SENDING)), None)
            if study is not None:
                self._leaving.add(study)
            return study

    def keep(self, study: str) -> None:
        """It could not be sent; it stays, and the others come first now."""
        with self._lock:
            os.utime(self.path(study, State.SENDING))
            self._leaving.discard(study)

    def missing(self, study: str) -> int:
        """How many instances of a study did not get in."""
        with self._lock:
            return len(self._known[study].refused)

    def end(self, study: str, state: State, to: State, record: Record) -> None:
        """Write down what became of a study, and let it go on."""
        with self._lock:
            put_text(self.path(study, state) / RECORD, record.model_dump_json(indent=1), durable=True)
            move(self.path(study, state), self.path(study, to))
            if to in (State.DONE, State.FAILED):  # who has it done again by hand begins to count anew
                (self.path(study, to) / TRIES).unlink(missing_ok=True)
            self._leaving.discard(study)

    def sweep(self, before: float) -> int:
        """Remove the images of studies that ended before a time (seconds since 1970), unless more of them is coming."""
        with self._lock:
            swept = [
                (study, folder, record)
                for study, folder, record in self._ended()
                # One that was killed in the middle of its sweep is closed, and has images still.
                if 0 < record.ended < before and (not record.closed or any(self._images(study, folder)))
            ]
            for study, folder, record in swept:
                put_text(folder / RECORD, record.model_copy(update={"closed": True}).model_dump_json(), durable=True)
                for path in self._images(study, folder):
                    path.unlink()
                with suppress(FileNotFoundError):
                    (self._quarantine / study).rmdir()
                self._known[study] = Known(closed=True)
        return len(swept)

    def _images(self, study: str, folder: Path) -> list[Path]:
        """What there is of a study that ended, in its folder and in quarantine."""
        return [*folder.glob(f"*{SUFFIX}"), *(self._quarantine / study).glob(f"*{SUFFIX}")]

    def _ended(self) -> Iterator[tuple[str, Path, Record]]:
        for state in (State.DONE, State.FAILED):
            for folder in (self._folder / state).iterdir():
                if not self.path(folder.name, State.INCOMING).exists():
                    yield folder.name, folder, read_record(folder)

    def _verdict(self, study: str, name: Name, size: int, association: int) -> str:
        with self._lock:
            known = self._known.setdefault(study, Known())
            known.last = self._clock()
            if association:
                known.associations.add(association)
            if known.closed:
                return CLOSED
            there = known.contents.get(name.instance)
            if there == name.content:
                return DUPLICATE
            if known.size + size > self._most:
                return TOO_LARGE
            return KEPT if there is None else OTHER_BYTES

    def _keep(self, part: Path, study: str, name: Name, size: int) -> None:
        folder = self.path(study, State.INCOMING)
        if not folder.exists():
            folder.mkdir(mode=0o700)
            sync(folder.parent)
        os.replace(part, folder / name.file)
        sync(folder)
        known = self._known[study]
        known.contents[name.instance] = name.content
        known.size += size
        known.refused.discard(name.instance)
        for state in State:
            (self.path(study, state) / f"{name.instance}{REFUSED}").unlink(missing_ok=True)

    def _set_aside(self, part: Path, study: str, name: Name) -> None:
        folder = self._quarantine / study
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder / name.file).exists():
            self._known[study].size += part.stat().st_size  # what lies there must not fill the disk either
            os.replace(part, folder / name.file)
            sync(folder)

    def _gather(self, study: str) -> bool:
        """Bring what is elsewhere of a study into ``incoming``; killed in between, it is done on when it is next quiet.

        Returns:
            Whether there was something.
        """
        incoming, found = self.path(study, State.INCOMING), False
        for state in (State.QUEUED, State.SENDING, State.DONE, State.FAILED):
            folder = self.path(study, state)
            if folder.exists():
                found = True
                for path in folder.iterdir():
                    if path.suffix in (SUFFIX, REFUSED):
                        os.replace(path, incoming / path.name)
                sync(incoming)
                shutil.rmtree(folder)
        return found

    def _again(self, folder: Path) -> None:
        """Queue a study that was worked on when the process died."""
        queued = self._folder / State.QUEUED / folder.name
        move(folder, queued)
