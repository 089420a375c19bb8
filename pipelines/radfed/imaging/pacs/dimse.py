"""Query and retrieval over DIMSE: C-FIND, then C-GET or C-MOVE (PS3.4, annex C), through pynetdicom."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from radfed.imaging.pacs.address import SERIES_FILTERS, STUDY_FILTERS, PacsAddress
from radfed.imaging.pacs.failure import PacsError, TransientError, UnsupportedQueryError
from radfed.imaging.pacs.listing import Answer, ListedSeries, first, matches, number_of_instances, queries
from radfed.imaging.pacs.patience import Patience
from radfed.imaging.pacs.peer import MOST_CONTEXTS, NoServiceError, Peer, context, status_code
from radfed.imaging.pacs.receiver import Receiver, StorageScp
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.pacs.spool import Spool
from radfed.imaging.pacs.syntaxes import SYNTAXES, storage_classes

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

# Study Root Query/Retrieve Information Model (PS3.4, C.6.2).
_FIND, _MOVE, _GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
_PENDING = (0xFF00, 0xFF01)


class Dimse:
    """One PACS, asked as our AE title.

    Raises:
        InvalidInputError: the TLS files are not as they should be.
        GateError: others can read our key.
    """

    def __init__(self, address: PacsAddress, settings: PacsSettings, patience: Patience) -> None:
        self._address, self._settings, self._patience = address, settings, patience
        self._peer = Peer(address, settings)
        self._batch = 50
        self._finder: Association | None = None
        self._scp: StorageScp | None = None

    def close(self) -> None:
        """End associations and our storage SCP."""
        self._end_finder()
        if self._scp:
            self._scp.close()

    def listing(self) -> Iterator[ListedSeries]:
        """What matches the address' filters, series by series; the hierarchical search that every PACS knows."""
        seen = set()
        try:
            for study in self._find_all("STUDY", STUDY_FILTERS, StudyInstanceUID=""):
                uid = first(study, "StudyInstanceUID")
                keys = {"StudyInstanceUID": uid, "SeriesInstanceUID": "", "NumberOfSeriesRelatedInstances": ""}
                for answer in self._find_all("SERIES", SERIES_FILTERS, **keys):
                    series = first(answer, "SeriesInstanceUID")
                    if series and series not in seen:
                        seen.add(series)
                        yield self._series(uid, series, answer)
        finally:
            self._end_finder()

    def _series(self, study: str, uid: str, answer: Answer) -> ListedSeries:
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": uid, "SOPInstanceUID": "", "SOPClassUID": ""}
        try:
            instances = list(self._find_all("IMAGE", (), **keys))
        except UnsupportedQueryError:
            instances = []  # this PACS searches for series only
        return ListedSeries.of(study, uid, number_of_instances(answer), instances)

    def _find_all(self, level: str, filters: Sequence[str], **keys: str) -> Iterator[Answer]:
        for query in queries(self._address.filters, filters):
            identifier = _identifier(level, keys | query)
            for answer in self._patience.run(partial(self._find, identifier)):
                if matches(answer, query):
                    yield answer

    def _find(self, identifier: Dataset) -> list[Answer]:
        if self._finder is None or not self._finder.is_established:
            self._finder = self._peer.associate([context(_FIND)])
        answers = []
        with disable_value_validation():  # pydicom would warn about foreign values that break the rules
            for status, found in self._finder.send_c_find(identifier, _FIND):
                code = status_code(status)
                if code in _PENDING and found is not None:
                    answers.append(_answer(found))
                elif code is None:
                    self._end_finder()
                    raise TransientError(f"{self._address}: broke off during a query")
                elif code != 0:
                    raise UnsupportedQueryError(
                        f"{self._address}: answered status 0x{code:04X} to a query; does it know our AE title "
                        f"{self._settings.ae_title}, may that query, and does it know every filter?"
                    )
        return answers

    def _end_finder(self) -> None:
        if self._finder is not None and self._finder.is_established:
            self._finder.release()
        self._finder = None

    def fetch(self, series: ListedSeries, lacking: tuple[str, ...] | None, spool: Spool) -> None:
        """Fill the spool with a whole series, or with the instances of it that are lacking.

        Raises:
            TransientError: not everything came.
            PacsError: it is of no use to go on.
        """
        whole = {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.uid}
        receiver = Receiver(series, spool)
        with self._retriever(receiver) as association:
            for identifier in [_identifier("SERIES", whole)] if lacking is None else self._batches(whole, lacking):
                self._retrieve(association, identifier, receiver)
        if lacking is not None and receiver.incomplete and not receiver.kept:
            self._batch = 1  # perhaps it takes no lists, or one that it cannot give spoils the others
        if receiver.incomplete:
            raise TransientError(f"{self._address}: did not give every instance that it lists")

    def _batches(self, whole: dict[str, str], lacking: tuple[str, ...]) -> Iterator[Dataset]:
        """Identifiers with lists of UIDs (PS3.4, C.4.2.1.4.1): each C-MOVE costs some PACS 100 ms, however small."""
        for start in range(0, len(lacking), self._batch):
            yield _identifier("IMAGE", whole | {"SOPInstanceUID": "\\".join(lacking[start : start + self._batch])})

    @contextmanager
    def _retriever(self, receiver: Receiver) -> "Iterator[Association]":
        from pynetdicom import evt

        if self._settings.retrieve == "move":
            self._scp = self._scp or StorageScp(self._peer, self._settings, self._address.tls)
            self._scp.receiver = receiver
            try:
                with self._peer.association([context(_MOVE)]) as association:
                    yield association
            finally:
                self._scp.receiver = None  # what comes late is not taken for a part of the next series
            return
        classes = sorted(receiver.series.sop_classes) or list(storage_classes())
        contexts = [context(_GET), *_storage_contexts(receiver.series.sop_classes)]
        with self._peer.association(contexts, classes, [(evt.EVT_C_STORE, receiver.store)]) as association:
            if not any(accepted.abstract_syntax == _GET for accepted in association.accepted_contexts):
                raise NoServiceError(f"{self._address}: offers no C-GET; set retrieve to move in the PACS settings")
            yield association

    def _retrieve(self, association: "Association", identifier: Dataset, receiver: Receiver) -> None:
        if not association.is_established:
            raise TransientError(f"{self._address}: broke off during a retrieval")
        if self._settings.retrieve == "move":
            answers = association.send_c_move(identifier, self._settings.ae_title, _MOVE)
        else:
            answers = association.send_c_get(identifier, _GET)
        for status, _ in answers:
            if receiver.stop:
                association.abort()
                raise receiver.stop
            code = status_code(status)
            if code is None:
                raise TransientError(f"{self._address}: broke off during a retrieval")
            if code == 0xA801:
                raise PacsError(f"{self._address}: does not know where our AE title {self._settings.ae_title} is")
            if code not in (0, *_PENDING):
                receiver.incomplete = True  # some or all suboperations failed; the others may still come


def _storage_contexts(classes: frozenset[str]) -> "list[PresentationContext]":
    """For C-GET: a context for each class and transfer syntax, so that compressed files come as they are stored.

    Only so many fit into one association: else each class has one context, and the PACS chooses its transfer syntax.
    """
    named = sorted(classes)
    if named and len(named) * len(SYNTAXES) < MOST_CONTEXTS:
        return [context(name, [syntax]) for name in named for syntax in SYNTAXES]
    known = named or list(storage_classes())
    return [context(name, SYNTAXES) for name in known[: MOST_CONTEXTS - 1]]


def _identifier(level: str, keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    with disable_value_validation():  # wildcards and ranges are no valid values
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
    return identifier


def _answer(found: Dataset) -> Answer:
    texts = {}
    for element in found:
        if element.keyword and element.VR != "SQ" and element.value not in (None, ""):
            values = element.value if element.VM > 1 else [element.value]
            texts[str(element.keyword)] = tuple(str(value) for value in values)
    return texts
