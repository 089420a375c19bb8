"""Certificates: who signed one, for whom, until when, and whether the key belongs to it. Times are UTC."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from radfed.errors import InvalidInputError


@dataclass(frozen=True)
class KitCertificates:
    """The three files of a startup kit that prove who the site is.

    Attributes:
        root: certificate of the federation's CA.
        own: the site's certificate.
        key_matches: whether the private key belongs to it.
    """

    root: x509.Certificate
    own: x509.Certificate
    key_matches: bool

    @classmethod
    def read(cls, kit: Path) -> "KitCertificates":
        """Read ``startup/rootCA.pem``, ``client.crt`` and ``client.key``.

        Raises:
            InvalidInputError: one of them is missing or is no PEM file of its kind.
        """
        startup = kit / "startup"
        root, own = _certificate(startup / "rootCA.pem"), _certificate(startup / "client.crt")
        try:
            key = load_pem_private_key((startup / "client.key").read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInputError(f"client.key: cannot be read as a private key ({type(error).__name__})") from error
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(root, own, key.public_key().public_bytes(*form) == own.public_key().public_bytes(*form))


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path.name}: cannot be read as a certificate ({type(error).__name__})") from error


def is_signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    """Whether ``root`` signed the certificate itself, as FLARE's CA does; name alone is not believed."""
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def common_name(name: x509.Name) -> str:
    """The CN of a subject or issuer, or ``(none)``."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else "(none)"


def fingerprint(certificate: x509.Certificate) -> str:
    """The first half of the SHA-256 of the public key, which tells two CAs of one name apart."""
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return key.digest.hex()[:16]


def days_left(certificate: x509.Certificate, now: datetime) -> float:
    """Days until the certificate ends; negative when it has."""
    return (certificate.not_valid_after_utc - now).total_seconds() / 86_400


def begins_in(certificate: x509.Certificate, now: datetime) -> float:
    """Seconds until the certificate begins to hold; negative when it holds."""
    return (certificate.not_valid_before_utc - now).total_seconds()


def host_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Names and addresses that a server's certificate speaks for; the CN only when it lists none, as gRPC has it."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (common_name(certificate.subject),)
    found = [*names.get_values_for_type(x509.DNSName)]
    found += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return tuple(found)


def speaks_for(certificate: x509.Certificate, host: str) -> bool:
    """Whether a certificate holds for a host name or address; ``*`` stands for one label."""
    return any(_matches(name.lower(), host.lower()) for name in host_names(certificate))


def _matches(name: str, host: str) -> bool:
    if name == host:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return name.startswith("*.") and "." in host and host.split(".", 1)[1] == name[2:]
    return False
