"""The signature of a release: ``model.sig`` of OpenSSF's model-signing, offline, with a key of its builder.

It covers every other file, ``SHA256SUMS`` included. Anyone's ``model_signing verify key`` reads it as well.
"""

import base64
import hashlib
import json
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from radfed.errors import GateError, InvalidInputError
from radfed.files import put_bytes, put_text
from radfed.inference.checksums import SUMS, file_digest
from radfed.release.layout import SIGNATURE
from radfed.release.seal import check_sums, release_files
from radfed.signatures import new_key, public_pem, read_key, write_key

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def make_key(path: Path) -> str:
    """Write a new key on P-256, mode 0600, and its public half beside it as ``<name>.pub``.

    Returns:
        The key's fingerprint, which is also the SHA-256 of the public file.

    Raises:
        InvalidInputError: one of the two is already there.
    """
    public = public_path(path)
    if public.exists():
        raise InvalidInputError(f"{public}: is already there, and a key is never written over; give another name")
    key = new_key()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_key(path, key)
    put_text(public, public_pem(key))
    return fingerprint(public_pem(key))


def public_path(key: Path) -> Path:
    """Where ``make_key`` puts the public half."""
    return key.with_name(f"{key.name}.pub")


def fingerprint(pem: str) -> str:
    """SHA-256 of a public key in PEM, as ``model.sig`` names it."""
    return hashlib.sha256(pem.encode()).hexdigest()


def check_key(path: Path) -> str:
    """Refuse a private key that cannot sign a release; its fingerprint.

    Raises:
        InvalidInputError: it cannot be read, or is of another kind.
    """
    key = read_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVES):
        raise InvalidInputError(
            f"{path.name}: a release is signed with a key on P-256, P-384 or P-521; "
            "'radfed release keygen KEY' makes one"
        )
    return fingerprint(public_pem(key))


def write_signature(release: Path, key: Path) -> str:
    """Sign a sealed release; an earlier signature is replaced.

    Returns:
        The key's fingerprint.

    Raises:
        InvalidInputError: the key cannot sign, or the folder is no release.
        GateError: the release is not as it was sealed.
    """
    name = check_key(key)
    check_sums(release)
    # Only who signs or checks a signature waits for it: it brings all of Sigstore, most of a second.
    from model_signing import hashing, signing

    what = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / SIGNATURE
        signing.Config().set_hashing_config(what).use_elliptic_key_signer(private_key=key).sign(release, beside)
        put_bytes(release / SIGNATURE, beside.read_bytes())
    return name


def check_covers(release: Path, signature: Path) -> str:
    """Hold what a signature lists against the files; whether it was made by the key that it names is another matter.

    Returns:
        The fingerprint of the key that it names.

    Raises:
        GateError: it is no signature of model-signing, or lists other files than there are, or other digests.
    """
    try:
        bundle = json.loads(signature.read_text(encoding="utf-8"))
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        listed = {str(entry["name"]): str(entry["digest"]) for entry in statement["predicate"]["resources"]}
        algorithms = {entry["algorithm"] for entry in statement["predicate"]["resources"]}
        hint = str(bundle["verificationMaterial"]["publicKey"]["hint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GateError(f"{SIGNATURE} is no signature that model-signing made ({type(error).__name__})") from error
    if algorithms - {"sha256"}:
        raise GateError(f"{SIGNATURE} lists digests that are not SHA-256")
    files = {**release_files(release), SUMS: release / SUMS}
    files.pop(SIGNATURE, None)
    wrong = sorted(listed.keys() ^ files.keys())
    wrong += [name for name in files if name in listed and _digest(files[name]) != listed[name]]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise GateError(f"other files than these were signed: {', '.join(wrong[:5])}{more}")
    return hint


def check_signature(release: Path, signature: Path, public_key: Path) -> None:
    """Whether a key made a signature over the files of a release.

    Raises:
        InvalidInputError: the public key cannot be read.
        GateError: another key made it, or it was changed.
    """
    pem = read_public(public_key)
    if check_covers(release, signature) != fingerprint(pem):
        raise GateError(f"it names another key than {public_key.name} ({fingerprint(pem)[:16]})")
    from model_signing import hashing, verifying

    what = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            # In the form that the fingerprint is made of: a file may end its lines otherwise.
            trusted = Path(folder) / "key.pub"
            trusted.write_text(pem, encoding="utf-8")
            config = verifying.Config().set_hashing_config(what).use_elliptic_key_verifier(public_key=trusted)
            config.verify(release, signature)
    except Exception as error:
        # Deliberately everything: the library has no errors of its own, and whatever stops it is no proof.
        raise GateError(f"the key did not make it ({type(error).__name__}: {str(error)[:200]})") from error


def read_public(path: Path) -> str:
    """A public key in PEM, written anew in its one form.

    Raises:
        InvalidInputError: it is none on P-256, P-384 or P-521.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidInputError(f"{path}: is no public key in PEM; give the .pub file of who signed") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise InvalidInputError(f"{path}: must be a public key on P-256, P-384 or P-521")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _digest(path: Path) -> str | None:
    """None, which no signature lists, of what is no plain file: a pipe would be waited for without end."""
    return file_digest(path) if path.is_file() and not path.is_symlink() else None
