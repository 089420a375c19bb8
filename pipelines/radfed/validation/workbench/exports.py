"""What is made after the sign-off, once: the protocol as PDF, and SEG and SR in an archive."""

import os
from collections.abc import Callable
from pathlib import Path

from radfed.files import put_text
from radfed.inference.checksums import file_digest
from radfed.metrics.signoff import SignOff
from radfed.signatures import Signed
from radfed.validation.workbench.bench import Bench
from radfed.validation.workbench.dicom_results import write_results
from radfed.validation.workbench.protocol import write_protocol
from radfed.validation.workbench.words import RefusedError


def protocol_file(bench: Bench, signed: Signed) -> Path:
    """The protocol of the review, as PDF.

    Raises:
        RefusedError: 409 the file was changed.
    """
    return _once(bench, "report.pdf", lambda path: write_protocol(bench, signed, path))


def results_file(bench: Bench, signed: Signed) -> Path:
    """SEG and SR of the cases whose DICOM files are known, with a list that says why others have none.

    Raises:
        RefusedError: 409 the file was changed.
    """
    return _once(bench, "results.zip", lambda path: write_results(bench, signed.read_as(SignOff), path))


def _once(bench: Bench, name: str, write: Callable[[Path], None]) -> Path:
    """Make a file, or check that it is the one that was made."""
    path = bench.bundle.folder.exports / name
    pinned = path.with_name(f"{name}.sha256")
    with bench.exporting:
        if not pinned.exists():
            beside = path.with_name(f".{name}.partial")
            write(beside)
            os.replace(beside, path)
            put_text(pinned, file_digest(path) + "\n", durable=True)
        elif not path.is_file() or file_digest(path) != pinned.read_text(encoding="utf-8").strip():
            raise RefusedError(409, f"{name} is not the file that was made; remove it and its .sha256 to make it again")
    return path
