"""A kit whose certificate cannot work does not start, and says why.

FLARE's client finds that out as well, in a thread whose error nobody reads: it then waits for ever and looks alive.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from nvflare.apis.fl_component import FLComponent

from radfed.errors import GateError, InvalidInputError, RadfedError

_PAIRS = ("client.crt", "server.crt")


def check_certificate(kit: Path, now: datetime | None = None) -> datetime:
    """Check a kit's certificate against the federation's authority in the same kit.

    Args:
        kit: startup kit of the server, a site or an admin.
        now: time of the check; None: the present.

    Returns:
        When the certificate expires.

    Raises:
        GateError: it has expired, is not valid yet, or another authority signed it.
        InvalidInputError: the kit has no readable certificate.
    """
    startup, at = kit / "startup", now or datetime.now(UTC)
    path = next((startup / name for name in _PAIRS if (startup / name).is_file()), None)
    try:
        if path is None:
            raise FileNotFoundError("no certificate")
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
        authority = x509.load_pem_x509_certificate((startup / "rootCA.pem").read_bytes())
    except (OSError, ValueError, IndexError) as error:
        raise InvalidInputError(
            f"the kit's certificate cannot be read ({error}); ask the operator for the kit"
        ) from error
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise GateError(
            "the kit's certificate was not signed by this federation's authority; startup/ mixes files of two kits: "
            "take the whole folder from one"
        ) from error
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise GateError(
            f"the kit's certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and now it is {at:%Y-%m-%d %H:%M}; "
            "ask the operator for a new kit, or set this machine's clock"
        )
    return certificate.not_valid_after_utc


class CertificateCheck(FLComponent):  # type: ignore[misc] # nvflare has no types
    """Stands in a kit's ``resources.json``; FLARE builds it before it connects, in the kit's folder.

    Raises:
        SystemExit: the kit's certificate cannot work. FLARE itself would end with 0, as if all were well.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            check_certificate(Path.cwd())
        except RadfedError as error:
            # FLARE has set up no log yet.
            print(error, file=sys.stderr, flush=True)
            raise SystemExit(error.exit_code) from error
