"""What is answered to each C-STORE: success only for what is safe on disk, and a code for what is not taken."""

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from radfed.imaging.pacs.listener import Answer, Arrived
from radfed.imaging.pacs.spool import BROKEN, file_header, raw_text
from radfed.imaging.unwarned import unwarned
from radfed.inference.listener.queue import CLOSED, DUPLICATE, KEPT, OTHER_BYTES, TOO_LARGE, StudyQueue
from radfed.inference.listener.study import Name, digest_of

NOT_AN_IMAGE, UNREADABLE, UID_MISMATCH, NO_ROOM = "not_an_image", "unreadable", "uid_mismatch", "no_room"

# PS3.4, table B.2-1, and PS3.7, annex C, for the second.
STATUS = {
    KEPT: 0x0000,
    DUPLICATE: 0x0000,
    NOT_AN_IMAGE: 0x0122,
    NO_ROOM: 0xA700,
    TOO_LARGE: 0xA700,
    UID_MISMATCH: 0xA900,
    UNREADABLE: 0xC000,
    OTHER_BYTES: 0xC001,
    CLOSED: 0xC002,
}
"""The status of C-STORE by what became of the instance."""

_KEYWORDS = ("SOPInstanceUID", "StudyInstanceUID")


class Intake:
    """Puts what arrives into the queue.

    Args:
        queue: where to.
        folder: on whose disk room must stay.
        min_free: how much (bytes).
        on_refused: called with the code, and the study's digest or an empty text, for what is not taken.

    Attributes:
        counts: instances by what became of them.
    """

    def __init__(
        self, queue: StudyQueue, folder: Path, min_free: float, on_refused: Callable[[str, str], None]
    ) -> None:
        self._queue, self._folder, self._min_free, self._on_refused = queue, folder, min_free, on_refused
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def store(self, arrived: Arrived) -> Answer:
        """Take an instance, or say why not; called from many threads."""
        study, code = self._taken(arrived)
        with self._counting:
            self.counts[code] += 1
        if STATUS[code] == 0:
            return Answer(0)
        self._on_refused(code, study)
        return Answer(STATUS[code], code)

    def _taken(self, arrived: Arrived) -> tuple[str, str]:
        if not arrived.is_image:
            return "", NOT_AN_IMAGE
        header = file_header(arrived.sop_class, arrived.sop_instance, arrived.transfer_syntax)
        try:
            sop_instance, study_uid = _uids(header + arrived.content)
        except BROKEN:
            return "", UNREADABLE
        if not study_uid or not sop_instance:
            return "", UNREADABLE
        study = digest_of(study_uid)
        if sop_instance != arrived.sop_instance:
            return study, UID_MISMATCH
        name = Name.of(sop_instance, arrived.transfer_syntax, arrived.content)
        code = self._kept(study, name, header, arrived)
        if code in (NO_ROOM, TOO_LARGE):
            self._queue.miss(study, name.instance)
        return study, code

    def _kept(self, study: str, name: Name, header: bytes, arrived: Arrived) -> str:
        try:
            if shutil.disk_usage(self._folder).free - len(arrived.content) < self._min_free:
                return NO_ROOM
            return self._queue.put(study, name, header, arrived.content, arrived.association)
        except OSError:  # a full disk, a quota, a disk that has become read-only: none of it says that it is kept
            return NO_ROOM


def _uids(file: bytes) -> tuple[str, str]:
    with unwarned():  # about what is wrong further in; reading it properly comes later
        dataset = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=list(_KEYWORDS))
    sop_instance, study = (raw_text(dataset, keyword) for keyword in _KEYWORDS)
    return sop_instance, study
