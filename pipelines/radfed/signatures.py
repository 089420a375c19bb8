"""Signed statements: JSON text with a signature that anyone can check offline, and who may have made it.

A site signs what it measured with the key of its startup kit, whose certificate the federation's root has signed; a
reviewer's workbench signs with a key of its own.
"""

import base64
from pathlib import Path
from typing import Literal, Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from pydantic import Field

from radfed.errors import GateError, InvalidInputError
from radfed.files import sync, write_new
from radfed.settings import Settings

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_Content = TypeVar("_Content", bound=Settings)
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


class Signed(Settings):
    """A statement and its signature. The text is kept as it was signed, so no rewriting of JSON can break it."""

    statement: str = Field(description="JSON text, exactly as it was signed")
    algorithm: Literal["rsa-pss-sha256", "ecdsa-sha256"]
    public_key: str = Field(description="PEM")
    certificate: str | None = Field(default=None, description="PEM of who signed, of the same key; null for a bare key")
    signature: str = Field(description="Base64")

    @classmethod
    def make(cls, content: Settings, key: PrivateKey, certificate: bytes | None = None) -> Self:
        """Sign a statement.

        Args:
            content: what is stated; it should name what it is about, so that it cannot stand for something else.
            key: who states it.
            certificate: PEM of the key's owner, if there is one.
        """
        statement = content.model_dump_json()
        text = statement.encode()
        if isinstance(key, rsa.RSAPrivateKey):
            algorithm: Literal["rsa-pss-sha256", "ecdsa-sha256"] = "rsa-pss-sha256"
            signature = key.sign(text, _PSS, hashes.SHA256())
        else:
            algorithm, signature = "ecdsa-sha256", key.sign(text, ec.ECDSA(hashes.SHA256()))
        return cls(
            statement=statement,
            algorithm=algorithm,
            public_key=public_pem(key),
            certificate=None if certificate is None else certificate.decode(),
            signature=base64.b64encode(signature).decode(),
        )

    def read_as(self, kind: type[_Content]) -> _Content:
        """The statement, once its signature is that of ``public_key``. Whose key that is, see ``signer``.

        Raises:
            GateError: the signature does not fit, or the statement is not of this kind.
        """
        try:
            key = serialization.load_pem_public_key(self.public_key.encode())
            signature = base64.b64decode(self.signature, validate=True)
            text = self.statement.encode()
            if isinstance(key, rsa.RSAPublicKey) and self.algorithm == "rsa-pss-sha256":
                key.verify(signature, text, _PSS, hashes.SHA256())
            elif isinstance(key, ec.EllipticCurvePublicKey) and self.algorithm == "ecdsa-sha256":
                key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
            else:
                raise GateError(f"the key is not one for {self.algorithm}")
        except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
            raise GateError("the signature does not fit the statement") from error
        try:
            return kind.model_validate_json(self.statement)
        except ValueError as error:
            raise GateError(f"what is signed is no {kind.__name__}") from error

    def signer(self, root: bytes) -> str:
        """The name in the certificate, once ``root`` has signed it and it is of the key that signed.

        Args:
            root: PEM of the federation's root certificate.

        Raises:
            GateError: there is no certificate, it is of another key, or of another root.
        """
        if self.certificate is None:
            raise GateError("the statement carries no certificate, so whose key signed it is not known")
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate.encode())
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(root))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError) as error:
            raise GateError("the signer's certificate is not of this federation's root") from error
        if _pem(certificate.public_key()) != _pem(serialization.load_pem_public_key(self.public_key.encode())):
            raise GateError("the certificate is of another key than the one that signed")
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names else ""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new key on the curve P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: PrivateKey) -> None:
    """Write a private key in PEM, unencrypted, for its owner's eyes only.

    Raises:
        InvalidInputError: a file is already there; a key is never written over.
    """
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        write_new(path, pem)
    except FileExistsError as error:
        raise InvalidInputError(
            f"{path}: is already there, and a key is never written over; give another name"
        ) from error
    sync(path.parent)


def read_key(path: Path) -> PrivateKey:
    """Read a private key in PEM.

    Raises:
        InvalidInputError: the file cannot be read, or holds no RSA or elliptic curve key without a password.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInputError(f"{path}: is no private key in PEM without a password") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise InvalidInputError(f"{path}: must be an RSA or an elliptic curve key, got {type(key).__name__}")
    return key


def public_pem(key: PrivateKey) -> str:
    """The public half of a key, in PEM."""
    return _pem(key.public_key())


def _pem(key: object) -> str:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise GateError(f"must be an RSA or an elliptic curve key, got {type(key).__name__}")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
