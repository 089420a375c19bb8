"""Signing a release, once nothing in it is false."""

from pathlib import Path

from radfed.errors import GateError
from radfed.release.layout import SIGNATURE
from radfed.release.signing import check_key, write_signature
from radfed.release.verify import verify


def sign_release(release: Path, key: Path) -> str:
    """Sign a release that holds; an earlier signature is replaced.

    Args:
        release: its folder.
        key: a private key on an elliptic curve, in PEM.

    Returns:
        The key's fingerprint.

    Raises:
        InvalidInputError: the key cannot sign, or there is no such folder.
        GateError: a claim of the release is false.
    """
    check_key(key)
    report = verify(release)
    # A signature that does not fit any more is what is to be replaced.
    kept = (release / SIGNATURE).is_symlink()
    false = [f"{claim.name}: {claim.reason}" for claim in report.false if kept or claim.name != "signature"]
    if false:
        raise GateError(f"{release.name} is not signed, because it does not hold: {'; '.join(false)[:600]}")
    return write_signature(release, key)
