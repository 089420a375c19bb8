"""Two mends to pynetdicom's associations: answers that come late, and answers that are lost."""

import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import EventHandlerType


def prompt() -> "list[EventHandlerType]":
    """Event handlers that keep Nagle's algorithm and delayed acknowledgements from costing 40 ms a message.

    Many a PACS sends a message in two pieces and the second only after we acknowledge the first; Linux forgets
    to acknowledge at once, so it is told after every message of ours.
    """
    from pynetdicom import evt

    def now(event: "evt.Event") -> None:
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_QUICKACK"):
                transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    return [(evt.EVT_CONN_OPEN, now), (evt.EVT_DATA_SENT, now)]


def guard(association: "Association") -> None:
    """Keep the association's reactor thread from swallowing the answers to our requests.

    pynetdicom 3.0 pauses that thread during a request, but may take it for paused when it is just going on
    (pynetdicom issue 875). The answer is then waited for until the time is up.
    """
    association._reactor_checkpoint = _Checkpoint(association)


class _Checkpoint(threading.Event):
    """An event whose ``clear`` returns only when the reactor has come to a stop at it."""

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor, self._stopped = reactor, False
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Called by the reactor in every turn of its loop; it passes ``timeout`` never."""
        while not self.is_set():
            self._stopped = True
            super().wait(0.01)
        return True

    def clear(self) -> None:
        """Called before a request."""
        super().clear()
        # From here on the reactor may pass once more if it was about to, and says so only where it will stay.
        self._stopped = False
        while not self._stopped and self._reactor.is_alive() and threading.current_thread() is not self._reactor:
            time.sleep(0.0001)
