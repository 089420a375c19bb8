"""What receives a series from a PACS: C-STORE requests within a C-GET, or at our own storage SCP."""

from typing import TYPE_CHECKING

from radfed.imaging.pacs.association import prompt
from radfed.imaging.pacs.failure import PacsError, TransientError
from radfed.imaging.pacs.listing import ListedSeries
from radfed.imaging.pacs.peer import NO_ROOM, Peer, context
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.pacs.spool import Spool, file_header
from radfed.imaging.pacs.syntaxes import SYNTAXES
from radfed.imaging.pacs.tls import server_context

if TYPE_CHECKING:
    from pynetdicom.events import Event

_NOT_OURS, _NOT_UNDERSTOOD = 0x0124, 0xC000


class Receiver:
    """Puts what comes for one series into the spool.

    Attributes:
        series: what is received.
        incomplete: something that should have come did not.
        kept: instances that came.
        stop: what makes it useless to go on; raised where the retrieval was asked for, in another thread.
    """

    def __init__(self, series: ListedSeries, spool: Spool) -> None:
        self.series, self._spool = series, spool
        self.incomplete, self.kept = False, 0
        self.stop: PacsError | None = None

    def store(self, event: "Event") -> int:
        """Handle a C-STORE request; the status to answer with."""
        from pynetdicom.dimse_primitives import C_STORE

        request = event.request
        assert isinstance(request, C_STORE), "bound to EVT_C_STORE only"
        if self.stop:
            return NO_ROOM
        header = file_header(
            str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), str(event.context.transfer_syntax)
        )
        try:
            if self._spool.receive((header, event.encoded_dataset(include_meta=False)), self.series):
                self.kept += 1
                return 0x0000
        except TransientError:
            self.incomplete = True
            return _NOT_UNDERSTOOD
        except PacsError as error:
            self.stop = error
            return NO_ROOM
        return _NOT_OURS


class StorageScp:
    """Where the PACS sends to after C-MOVE. Takes what belongs to the series asked for, and refuses all else.

    Args:
        peer: the application entity that listens.
        settings: where, and with what certificate.
        tls: whether the PACS speaks TLS.

    Raises:
        InvalidInputError: the TLS files are not as they should be.
        PacsError: the port cannot be listened on.
    """

    def __init__(self, peer: Peer, settings: PacsSettings, tls: bool) -> None:
        from pynetdicom import AllStoragePresentationContexts, evt

        self.receiver: Receiver | None = None
        peer.entity.require_called_aet = True
        secure = server_context(settings) if tls else None
        try:
            server = peer.entity.start_server(
                (settings.bind, settings.port),
                block=False,
                ssl_context=secure,
                evt_handlers=[*prompt(), (evt.EVT_C_STORE, self._store)],
                contexts=[context(known.abstract_syntax, SYNTAXES) for known in AllStoragePresentationContexts],
            )
        except OSError as error:
            raise PacsError(
                f"cannot listen on {settings.bind}:{settings.port} for what the PACS moves to us "
                f"({error.strerror}); is the port taken? Set bind and port in the PACS settings"
            ) from error
        self._server = server

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()

    def _store(self, event: "Event") -> int:
        receiver = self.receiver
        return receiver.store(event) if receiver else _NOT_OURS
