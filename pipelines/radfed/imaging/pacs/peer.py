"""The PACS as DIMSE sees it: an application entity that associations are opened with (PS3.7, PS3.8)."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from radfed.imaging.pacs.address import PacsAddress
from radfed.imaging.pacs.association import guard, prompt
from radfed.imaging.pacs.failure import PacsError, TransientError
from radfed.imaging.pacs.settings import PacsSettings
from radfed.imaging.pacs.tls import client_context

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import EventHandlerType
    from pynetdicom.presentation import PresentationContext

MOST_CONTEXTS = 128  # PS3.8, 9.3.2.2: their ids are the odd numbers below 256
NO_ROOM = 0xA700


class NoServiceError(PacsError):
    """The PACS accepts none of the presentation contexts."""


class Peer:
    """Opens associations with one PACS, as our AE title.

    Raises:
        InvalidInputError: the TLS files are not as they should be.
        GateError: others can read our key.
    """

    def __init__(self, address: PacsAddress, settings: PacsSettings) -> None:
        from pynetdicom import AE

        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it logs data sets
        self._address, self._our_title = address, settings.ae_title
        self._tls = client_context(settings) if address.tls else None
        self.entity = AE(ae_title=settings.ae_title)
        for name in ("acse_timeout", "dimse_timeout", "network_timeout", "connection_timeout"):
            setattr(self.entity, name, settings.timeout)

    def associate(
        self,
        contexts: "list[PresentationContext]",
        roles: Sequence[str] = (),
        handlers: "Sequence[EventHandlerType]" = (),
    ) -> "Association":
        """Open an association.

        Args:
            contexts: what is proposed.
            roles: SOP classes that we want to receive over it.
            handlers: of events of this association.

        Raises:
            NoServiceError: the PACS accepts no context.
            PacsError: it rejects us for good.
            TransientError: no association; it may pass.
        """
        from pynetdicom import build_role

        association = self.entity.associate(
            self._address.host,
            self._address.port,
            contexts=contexts,
            ae_title=self._address.aet,
            max_pdu=1 << 18,
            ext_neg=[build_role(uid, scp_role=True) for uid in roles],
            tls_args=(self._tls, self._address.host) if self._tls else None,
            evt_handlers=[*prompt(), *handlers],
        )
        if association.is_established:
            guard(association)
            return association
        raise self._failure(association)

    @contextmanager
    def association(
        self,
        contexts: "list[PresentationContext]",
        roles: Sequence[str] = (),
        handlers: "Sequence[EventHandlerType]" = (),
    ) -> "Iterator[Association]":
        """The same for a ``with`` statement; released at its end."""
        association = self.associate(contexts, roles, handlers)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _failure(self, association: "Association") -> PacsError | TransientError:
        primitive = association.acceptor.primitive
        if association.is_rejected and primitive is not None and primitive.result == 2:  # PS3.8, 9.3.4: transient
            return TransientError(f"{self._address}: has no room for our association", gone=True)
        if association.is_rejected:
            return PacsError(
                f"{self._address}: rejected our association; check its AE title {self._address.aet}, and that it knows "
                f"ours, {self._our_title}"
            )
        if association.rejected_contexts:
            return NoServiceError(f"{self._address}: does not offer what this needs to our AE title {self._our_title}")
        # Some close the connection in place of a rejection, so this may be one.
        return TransientError(
            f"{self._address}: no association; is it there{', was TLS agreed on' if self._tls else ''}, "
            f"and does it know our AE title {self._our_title}?",
            gone=True,
        )


def context(abstract_syntax: object, syntaxes: Sequence[str] | None = None) -> "PresentationContext":
    """A presentation context; uncompressed transfer syntaxes if none are given."""
    from pynetdicom import build_context

    return build_context(str(abstract_syntax), list(syntaxes) if syntaxes else None)


def status_code(status: Dataset) -> int | None:
    """The status of a response; None if there was none, because the connection broke."""
    return int(status.Status) if "Status" in status else None
