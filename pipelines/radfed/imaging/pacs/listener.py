"""A storage SCP of our own that others send to: C-ECHO and C-STORE (PS3.4, annexes A and B).

What becomes of an instance is decided by who listens; here is only who may connect, and how it is answered. Neither
AE titles nor what is sent stand in any message.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import UID

from radfed.errors import InvalidInputError
from radfed.imaging.pacs.address import PacsAddress, parse_address
from radfed.imaging.pacs.association import prompt
from radfed.imaging.pacs.failure import PacsError
from radfed.imaging.pacs.peer import context
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.pacs.syntaxes import SYNTAXES
from radfed.imaging.pacs.tls import server_context
from radfed.imaging.unwarned import unwarned

if TYPE_CHECKING:
    from pynetdicom.events import Event

VERIFICATION = "1.2.840.10008.1.1"
_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Arrived:
    """An instance as it came over the network.

    Attributes:
        sop_class: SOPClassUID of the request.
        sop_instance: SOPInstanceUID of the request.
        transfer_syntax: of the data set.
        content: the encoded data set.
        association: a number for who sends; not the same for two associations at a time.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    content: bytes
    association: int

    @property
    def is_image(self) -> bool:
        """Whether the standard calls its class one of images."""
        with unwarned():  # of a class that is no UID
            return "Image Storage" in UID(self.sop_class).name


@dataclass(frozen=True)
class Answer:
    """What the sender is told.

    Attributes:
        status: of C-STORE; 0 only if the instance is safe.
        comment: a code that says why, for the sender's log (ErrorComment, at most 64 letters).
    """

    status: int
    comment: str = ""


def parse_listen(text: str) -> PacsAddress:
    """Read where to listen: ``AE@HOST:PORT``, or with TLS ``dimse+tls://AE@HOST:PORT``.

    Raises:
        InvalidInputError: it is no such address.
    """
    address = parse_address(text if "://" in text else f"dimse://{text}")
    if address.scheme != "dimse" or address.filters:
        raise InvalidInputError("--listen takes AE@HOST:PORT, or dimse+tls://AE@HOST:PORT, and nothing behind it")
    return address


class StorageListener:
    """Listens from the moment it is made until ``close``.

    Args:
        address: our AE title, and where to listen.
        settings: our TLS files and the time after which a silent peer is given up.
        accept: AE titles that may connect; empty for any.
        max_associations: at one time; more are rejected for the moment (PS3.8, 9.3.4: local limit exceeded).
        max_pdu: largest PDU that we take (bytes).
        store: decides what becomes of an instance; called from many threads.
        ended: called with an association's number when it is over.
        rejected: called for each association that we did not let in.

    Raises:
        InvalidInputError: it would be open to everybody, or the TLS files are not as they should be.
        GateError: others can read our key.
        PacsError: the port cannot be listened on.
    """

    def __init__(
        self,
        address: PacsAddress,
        settings: PacsSettings,
        accept: tuple[str, ...],
        max_associations: int,
        max_pdu: int,
        store: Callable[[Arrived], Answer],
        ended: Callable[[int], None],
        rejected: Callable[[], None],
    ) -> None:
        from pynetdicom import AE, AllStoragePresentationContexts, evt

        if not (accept or address.tls or address.host in _LOOPBACK):
            raise InvalidInputError(
                f"{address.host} can be reached by others and anybody could send: name who may with --accept AE, "
                "or use dimse+tls://"
            )
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it logs data sets
        secure = server_context(settings) if address.tls else None
        entity = AE(ae_title=address.aet)
        entity.require_called_aet = True
        entity.require_calling_aet = list(accept)
        entity.maximum_associations = max_associations
        entity.maximum_pdu_size = max_pdu
        for name in ("acse_timeout", "dimse_timeout", "network_timeout"):
            setattr(entity, name, settings.timeout)
        handlers = [
            *prompt(),
            (evt.EVT_C_STORE, lambda event: _answered(event, store)),
            (evt.EVT_CONN_CLOSE, lambda event: ended(id(event.assoc))),
            (evt.EVT_REJECTED, lambda event: rejected()),
        ]
        known = [context(one.abstract_syntax, SYNTAXES) for one in AllStoragePresentationContexts]
        try:
            server = entity.start_server(
                (address.host, address.port),
                block=False,
                ssl_context=secure,
                evt_handlers=handlers,
                contexts=[context(VERIFICATION), *known],
            )
        except OSError as error:
            raise PacsError(
                f"cannot listen on {address.host}:{address.port} ({error.strerror}); is the port taken, and is the "
                "address one of this machine?"
            ) from error
        assert server is not None  # it does not block
        self._server, self._entity = server, entity

    def close(self) -> None:
        """Let nobody in any more, and end what is connected."""
        self._server.shutdown()
        self._entity.shutdown()


def _answered(event: "Event", store: Callable[[Arrived], Answer]) -> Dataset:
    from pynetdicom.dimse_primitives import C_STORE

    request = event.request
    assert isinstance(request, C_STORE), "bound to EVT_C_STORE only"
    answer = store(
        Arrived(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
            event.encoded_dataset(include_meta=False),
            id(event.assoc),
        )
    )
    status = Dataset()
    status.Status = answer.status
    if answer.comment:
        status.ErrorComment = answer.comment
    return status
