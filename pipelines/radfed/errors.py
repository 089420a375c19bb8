"""What can go wrong, as types. A message says what was wrong, what was got and what to do.

Exit codes follow the command contract: 1 failed, 2 usage or invalid input, 3 refused by a policy or a gate.
A message may name a site, a round and a case pseudonym; never a patient, and never a path on a site's disk in
anything that leaves the site.
"""


class RadfedError(Exception):
    """Base of every error that radfed raises on purpose.

    Attributes:
        exit_code: what the command line exits with when this error reaches it.
        reason: a short, stable code for logs, ledgers and ``--json`` output.
    """

    exit_code = 1
    reason = "failed"


class InvalidInputError(RadfedError):
    """The user gave something that cannot be used: a file, a key, a value."""

    exit_code = 2
    reason = "invalid_input"


class DataError(RadfedError):
    """Images or labels cannot be used as they are. ``reason`` is one of the quarantine codes."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type["DataError"], tuple[str, str]]:
        """Both arguments, for errors that come from a worker process."""
        return DataError, (self.reason, str(self))


class DatasetRefusedError(RadfedError):
    """Too large a share of a dataset failed its checks."""

    reason = "dataset_refused"


class TrainingError(RadfedError):
    """Training cannot go on, for example because the loss is not a number."""

    reason = "training_failed"


class FederationError(RadfedError):
    """The federation ended without a usable model."""

    reason = "federation_failed"


class GateError(RadfedError):
    """A gate or a policy said no: parity, digests, approval."""

    exit_code = 3
    reason = "refused"
