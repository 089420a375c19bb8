import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from radfed.errors import GateError, InvalidInputError
from radfed.settings import Settings
from radfed.signatures import PrivateKey, Signed, new_key, public_pem, read_key, write_key


class Statement(Settings):
    site: str
    dice: float


def certificate(name: str, key: PrivateKey, issuer: str, issuer_key: PrivateKey) -> bytes:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .sign(issuer_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


STATEMENT = Statement(site="site-a", dice=0.8123456789012345)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_signed_statement_is_read_back_exactly(kind: str, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = Signed.make(STATEMENT, rsa_key if kind == "rsa" else new_key())
    again = Signed.model_validate_json(signed.model_dump_json())
    assert again.read_as(Statement) == STATEMENT


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_changed_statement_signature_or_key_is_refused(kind: str, rsa_key: rsa.RSAPrivateKey) -> None:
    key = rsa_key if kind == "rsa" else new_key()
    signed = Signed.make(STATEMENT, key)
    flipped = ("A" if signed.signature[10] != "A" else "B").join((signed.signature[:10], signed.signature[11:]))
    for change in (
        {"statement": signed.statement.replace("0.81", "0.91")},
        {"signature": flipped},
        {"signature": "no base64"},
        {"public_key": public_pem(new_key())},
        {"public_key": "no key"},
        {"algorithm": "ecdsa-sha256" if kind == "rsa" else "rsa-pss-sha256"},
    ):
        with pytest.raises(GateError):
            signed.model_copy(update=change).read_as(Statement)


def test_a_statement_of_another_kind_is_refused() -> None:
    class Other(Settings):
        something: str

    with pytest.raises(GateError, match="no Other"):
        Signed.make(STATEMENT, new_key()).read_as(Other)


def test_the_signer_is_named_by_a_certificate_of_the_root(rsa_key: rsa.RSAPrivateKey) -> None:
    root_key, site_key = new_key(), rsa_key
    root = certificate("root", root_key, "root", root_key)
    signed = Signed.make(STATEMENT, site_key, certificate("site-a", site_key, "root", root_key))
    assert signed.signer(root) == "site-a"

    stranger_key = new_key()
    stranger = certificate("root", stranger_key, "root", stranger_key)
    with pytest.raises(GateError, match="not of this federation's root"):
        signed.signer(stranger)
    with pytest.raises(GateError, match="another key"):
        Signed.make(STATEMENT, new_key(), certificate("site-a", site_key, "root", root_key)).signer(root)
    with pytest.raises(GateError, match="no certificate"):
        Signed.make(STATEMENT, site_key).signer(root)


def test_a_key_is_its_owners_and_never_written_over(tmp_path: Path) -> None:
    path, key = tmp_path / "key.pem", new_key()
    write_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert public_pem(read_key(path)) == public_pem(key)
    with pytest.raises(InvalidInputError, match="never written over"):
        write_key(path, new_key())
    assert public_pem(read_key(path)) == public_pem(key)


def test_a_key_is_at_no_moment_others_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def looked_at(descriptor: int) -> None:
        fsync(descriptor)
        seen.extend(path.stat().st_mode & 0o777 for path in tmp_path.iterdir())

    monkeypatch.setattr(os, "fsync", looked_at)
    write_key(tmp_path / "key.pem", new_key())
    assert set(seen) == {0o600}
    monkeypatch.setattr(Path, "exists", lambda path: False)  # it came in between the look and the writing
    with pytest.raises(InvalidInputError, match="never written over"):
        write_key(tmp_path / "key.pem", new_key())


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("hello")
    with pytest.raises(InvalidInputError, match="no private key"):
        read_key(path)
    with pytest.raises(InvalidInputError, match="no private key"):
        read_key(tmp_path / "missing.pem")
