"""What can go wrong between a site and its PACS.

Messages name the PACS's address and a status, never what the server wrote: that may hold identifiers.
"""

from radfed.errors import RadfedError


class PacsError(RadfedError):
    """The PACS cannot be used, or gave up on us. Trying again at once does not help."""

    reason = "pacs_failed"


class UnsupportedQueryError(PacsError):
    """The PACS answers, but refuses this query."""


class TransientError(RadfedError):
    """Something that may pass: a lost connection, a busy server, a transfer cut short.

    Attributes:
        retry_after: what the server asks us to wait (s), if it says so.
        gone: no server could be spoken to at all; what it lists cannot be called missing then.
    """

    reason = "pacs_failed"

    def __init__(self, message: str, *, retry_after: float | None = None, gone: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.gone = gone
