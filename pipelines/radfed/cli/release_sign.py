"""``radfed release keygen``, ``sign`` and ``attach``: who vouches for a release."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log

KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Private key that signs the release, of 'radfed release keygen'.")
]
_JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
_Release = Annotated[Path, typer.Argument(metavar="RELEASE", help="A release's folder.")]


def keygen(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="New file for the private key; KEY.pub is put beside it.")],
    as_json: _JsonFlag = False,
) -> None:
    """Make a key on the curve P-256 with which releases are signed.

    KEY has mode 0600 and stays with its owner. KEY.pub goes to everyone who is to verify, by a way of its own.
    """
    from radfed.release.signing import make_key, public_path

    name = make_key(key)
    log.print(f"{key}: keep it to yourself\n{public_path(key)}: give it away; SHA-256 {name}", markup=False)
    emit({"key": str(key), "public_key": str(public_path(key)), "fingerprint": name}, as_json)


def sign(
    release: _Release,
    key: Annotated[Path, typer.Option("--key", help="Private key, of 'radfed release keygen'.")],
    as_json: _JsonFlag = False,
) -> None:
    """Sign every file of a release; exits 3 if any of its claims is false.

    Example: radfed release sign releases/lungs-1.0.0 --key signer.pem
    """
    from radfed.release.sign import sign_release

    name = sign_release(release, key)
    log.print(f"{release}: signed with the key {name}", markup=False, soft_wrap=True)
    emit({"release": str(release), "fingerprint": name}, as_json)


def attach(
    release: _Release,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="signoff.json with review-chain.jsonl, leakage.json; metrics.json, comparison.json and report.html "
            "that may leave the site; or the folder sites/ of a run.",
        ),
    ],
    key: KeyOption = None,
    as_json: _JsonFlag = False,
) -> None:
    """Add what was found after a release was built; exits 3 if it does not hold, or must not leave the site.

    Card, bill of materials and crate are written anew. A signature no longer fits and is taken away; --key signs again.
    """
    from radfed.release.attach import attach as run
    from radfed.release.sign import sign_release
    from radfed.release.signing import check_key

    if key is not None:
        check_key(key)
    added = run(release, files)
    name = sign_release(release, key) if key is not None else None
    log.print(f"{release}: added {', '.join(added)}", markup=False, soft_wrap=True)
    log.print("signed again" if name else "not signed; 'radfed release sign' does it", markup=False)
    emit({"release": str(release), "added": list(added), "fingerprint": name}, as_json)
